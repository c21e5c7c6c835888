"""The engine: pools of workers under bounds and deadlines, on Ray. Importing it does not import Ray."""

from cluster.engine.interface import ErrorInfo, Observer, PoolSnapshot, PoolSpec, Snapshot
from cluster.engine.scheduler import Engine

__all__ = ["Engine", "ErrorInfo", "Observer", "PoolSnapshot", "PoolSpec", "Snapshot"]
