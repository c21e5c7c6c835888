"""The engine: pools of workers under bounds and deadlines, on Ray or not. It is imported without Ray."""

from mien.cluster.engine.backends.on_processes import ProcessBackend
from mien.cluster.engine.backends.on_ray import RayBackend
from mien.cluster.engine.interface import ErrorInfo, Observer, PoolSnapshot, PoolSpec, Snapshot
from mien.cluster.engine.scheduler import Engine

__all__ = [
    "Engine",
    "ErrorInfo",
    "Observer",
    "PoolSnapshot",
    "PoolSpec",
    "ProcessBackend",
    "RayBackend",
    "Snapshot",
]
