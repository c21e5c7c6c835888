"""What `mien verify` does: the store held against the catalog."""

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
    """Every committed shard read back; every fault as one line that names the shard."""
    store = open_store(settings.store.shards_uri)
    report = VerificationReport()
    seen: dict[str, str] = {}
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        # The catalog first: what a live run publishes meanwhile is then one file too many at most.
        shards = catalog.shards()
        live = set(catalog.live_runs())
        entries = {entry.name for entry in store.list()}
        for shard in shards:
            before = len(report.faults)
            _verify_shard(shard, store, report, entries=entries, live=live, seen=seen, deep=deep)
            if len(report.faults) > before:
                report.broken.append(shard.name)
        report.faults += [
            f"{name}: was never committed; the next `mien run` removes it"
            for name in sorted(uncommitted(catalog, entries))
        ]
    return report


def repair(settings: Settings, names: Sequence[str]) -> int:
    """Takes broken shards back, so that the next run makes their samples again; removes what is left of them.

    Returns the number of videos that wait again. Raises CatalogError while a run works on one of them.
    """
    store = open_store(settings.store.shards_uri)
    videos = 0
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        for name in names:
            # Readers first: a sample must not be seen in its old shard and in its new one.
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
            report.faults.append(f"{shard.name}: its index is missing; the next `mien run` makes it again")
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
        report.faults.append(f"{shard.name}: {len(keys)} samples, {shard.sample_count} were committed")
    for key in keys:
        if key in seen:
            report.faults.append(f"{shard.name}: {key} is also in {seen[key]}")
        seen[key] = shard.name
