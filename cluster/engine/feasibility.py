"""Checks before a run starts whether the pools fit into the cluster."""

from __future__ import annotations

from collections.abc import Sequence

from mien.cluster.engine.interface import PoolSpec
from mien.ingest.errors import InfeasibleError

Node = tuple[float, float]
"""CPUs and GPUs."""


def check_pools(pools: Sequence[PoolSpec], nodes: Sequence[Node]) -> None:
    """Simulates the placement of every worker on a node, the largest first.

    Raises:
        InfeasibleError: the needs of the pools, the size of the cluster, and what to change, in one line.
    """
    cpus = sum(pool.cpus * pool.workers for pool in pools)
    gpus = sum(pool.gpus * pool.workers for pool in pools)
    parts = ", ".join(f"{pool.name} {pool.workers} × {_needs(pool.cpus, pool.gpus)}" for pool in pools)
    has = _needs(sum(node[0] for node in nodes), sum(node[1] for node in nodes))
    free = [list(node) for node in nodes]
    for pool in sorted(pools, key=lambda pool: (pool.gpus, pool.cpus), reverse=True):
        for _ in range(pool.workers):
            node = next((n for n in free if n[0] + 1e-6 >= pool.cpus and n[1] + 1e-6 >= pool.gpus), None)
            if node is None:
                raise InfeasibleError(
                    f"the pools need {_needs(cpus, gpus)} ({parts}) and the cluster has {has} on "
                    f"{len(nodes)} node{'s' if len(nodes) != 1 else ''}: there is no room for a "
                    f"worker of {pool.name!r}; reduce its workers or their shares, or add nodes"
                )
            node[0] -= pool.cpus
            node[1] -= pool.gpus


def _needs(cpus: float, gpus: float) -> str:
    return f"{cpus:g} CPU{'s' if cpus != 1 else ''}" + (f" + {gpus:g} GPU" if gpus else "")
