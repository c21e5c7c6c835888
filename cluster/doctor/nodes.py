"""Whether every node of the cluster can read what another fetched from a platform.

Each node's media cache is its own, and what is not in it is fetched again. Of a platform that would be
outside of every budget, so `fetch` refuses it (ingest/fetch/stage.py), video by video: said here before the
first is asked for. Raylets at one address share a disk, and a node without CPUs gets no worker.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from mien.cluster.config import Settings
from mien.cluster.doctor.check import Check
from mien.cluster.engine.backends.ray_backend import worker_nodes

_CURE = "set acquire.keep_media to always, and acquire.media_uri to a place that every node reaches"


def nodes(settings: Settings) -> Iterator[Check]:
    """Connects to the cluster, where there is one. InfeasibleError: none answers there."""
    address, name = settings.engine.address, "nodes"
    if not address:
        yield Check.ok(name, "this machine alone: no engine.address")
        return
    count = machines(_alive(address))
    kept = settings.fetch.keep_uri
    if count < 2:
        yield Check.ok(name, f"{count} at {address}: what it fetched, it reads")
    elif not kept:
        problem = f"{count} at {address}, and what one fetched from a platform no other can read"
        yield Check.fail(name, problem, _CURE)
    elif "://" not in kept:
        problem = f"{count} at {address}, and media is kept in {kept}: each of them must see that very folder"
        yield Check.warn(name, problem, "share it, or set acquire.media_uri to an object store")
    else:
        yield Check.ok(name, f"{count} at {address}: what one fetched, another reads from {kept}")


def machines(nodes: Iterable[Mapping[str, Any]]) -> int:
    """Of `ray.nodes()`, those with caches of their own on which a worker may be placed."""
    return len({node["NodeManagerAddress"] for node in worker_nodes(nodes)})


def _alive(address: str) -> list[dict[str, Any]]:
    from mien.cluster.engine.backends.ray_session import RaySession

    with RaySession(address=address, object_store_bytes=0):
        import ray

        found: list[dict[str, Any]] = ray.nodes()  # type: ignore[no-untyped-call]
    return found
