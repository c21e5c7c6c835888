"""The engine: pools of workers under bounds and deadlines, on Ray or not. It is imported without Ray."""

from cluster.engine.backends.on_processes import ProcessBackend
from cluster.engine.backends.on_ray import RayBackend
from cluster.engine.interface import ErrorInfo, Observer, PoolSnapshot, PoolSpec, Snapshot
from cluster.engine.scheduler import Engine

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
