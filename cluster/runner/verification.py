"""`mien verify`: compares the stored shards with the catalog."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field

from mien.cluster.config import Settings
from mien.cluster.runner.recovery import uncommitted
from mien.cluster.runner.shard_commit import sidecar_name
from mien.ingest.catalog import Catalog, ShardRecord
from mien.ingest.errors import StorageError
from mien.ingest.storage import Store, open_store
from mien.pipelines.shards.verify import check_shard


@dataclass(slots=True, kw_only=True)
class VerificationReport:
    shards: int = 0
    samples: int = 0
    faults: list[str] = field(default_factory=list)
    broken: list[str] = field(default_factory=list)
    """Names of committed shards with a fault."""


def verify(settings: Settings, *, deep: bool) -> VerificationReport:
    """Reads every committed shard. Each fault is one line that names the shard."""
    store = open_store(settings.store.shards_uri)
    report = VerificationReport()
    seen: dict[str, str] = {}
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        # Read the catalog first: a shard that a live run publishes meanwhile is then at most an extra file.
        shards = catalog.shards()
        live = set(catalog.live_runs())
        entries = {entry.name for entry in store.list()}
        for shard in shards:
            before = len(report.faults)
            _verify_shard(shard, store, report, entries=entries, live=live, seen=seen, deep=deep)
            if len(report.faults) > before:
                report.broken.append(shard.name)
        report.faults += [
            f"{name}: not committed; the next `mien run` deletes it"
            for name in sorted(uncommitted(catalog, entries))
        ]
    return report


def repair(settings: Settings, names: Sequence[str]) -> int:
    """Invalidates broken shards and deletes their files. The next run regenerates their samples.

    Returns the number of videos that were put back into the queue. Raises CatalogError if a run is working on
    one of them.
    """
    store = open_store(settings.store.shards_uri)
    videos = 0
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        for name in names:
            # Delete the index first: readers must never see a sample in both its old and its new shard.
            store.delete(sidecar_name(name))
            videos += catalog.revoke_shard(name)
            store.delete(name)
    return videos


def _verify_shard(
    shard: ShardRecord,
    store: Store,
    report: VerificationReport,
    *,
    entries: set[str],
    live: set[str],
    seen: dict[str, str],
    deep: bool,
) -> None:
    report.shards += 1
    if shard.name not in entries:
        report.faults.append(f"{shard.name}: missing from {store.uri}")
        return
    if sidecar_name(shard.name) not in entries:
        if shard.run_id not in live:
            report.faults.append(f"{shard.name}: the index is missing; the next `mien run` regenerates it")
        return
    try:
        with store.open(shard.name) as tar:
            index = store.read(sidecar_name(shard.name))
            keys, faults = check_shard(tar, index, sha256=shard.sha256, deep=deep)
    except StorageError as error:
        keys, faults = [], [str(error)]
    report.samples += len(keys)
    report.faults += [f"{shard.name}: {fault}" for fault in faults]
    if not faults and len(keys) != shard.sample_count:
        report.faults.append(
            f"{shard.name}: found {len(keys)} samples, but {shard.sample_count} were committed"
        )
    for key in keys:
        if key in seen:
            report.faults.append(f"{shard.name}: {key} is also in {seen[key]}")
        seen[key] = shard.name
