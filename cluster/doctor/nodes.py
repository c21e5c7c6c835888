"""Whether every node of the cluster can read media that another node fetched from a platform.

Each node has its own media cache and would fetch missing media again. For platforms, this would exceed the
budgets, so `fetch` refuses it for each video (ingest/fetch/stage.py). This check reports the problem before
the first download. Raylets with the same address share a disk, and a node without CPUs gets no worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mien.cluster.config import Settings
from mien.cluster.doctor.check import Check
from mien.cluster.engine.backends.ray_backend import worker_nodes
from mien.cluster.report.formatting import pluralize

_FIX = "set acquire.keep_media to always, and acquire.media_uri to storage that every node can reach"


def nodes(settings: Settings) -> Iterator[Check]:
    """Connects to the cluster, if one is configured. Raises InfeasibleError if it does not answer."""
    address, name = settings.engine.address, "nodes"
    if not address:
        yield Check.ok(name, "only this machine is used (engine.address is not set)")
        return
    count = machines(_alive(address))
    found = pluralize(count, "node")
    media_store = settings.fetch.keep_uri
    if count < 2:
        yield Check.ok(name, f"{found} at {address}, which reads its own media")
    elif not media_store:
        problem = f"{found} at {address} cannot read media that another node fetched from a platform"
        yield Check.fail(name, problem, _FIX)
    elif "://" not in media_store:
        problem = f"{found} at {address} store media in {media_store}, which must be one shared folder"
        yield Check.warn(name, problem, "share this folder, or set acquire.media_uri to an object store")
    else:
        yield Check.ok(name, f"{found} at {address} share media through {media_store}")


def machines(nodes: Iterable[Mapping[str, Any]]) -> int:
    """The number of nodes of `ray.nodes()` that have their own cache and can run workers."""
    return len({node["NodeManagerAddress"] for node in worker_nodes(nodes)})


def _alive(address: str) -> list[dict[str, Any]]:
    from mien.cluster.engine.backends.ray_session import RaySession

    with RaySession(address=address, object_store_bytes=0):
        import ray

        found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found
