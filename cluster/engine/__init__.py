"""The engine: pools of workers with bounded queues and deadlines, on Ray or on processes.

Importing it does not import Ray.
"""

from mien.cluster.engine.backends.process_backend import ProcessBackend
from mien.cluster.engine.backends.ray_backend import RayBackend
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
