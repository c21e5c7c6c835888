"""What `mien verify` does: the store held against the catalog."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field

from cluster.config import Settings
from cluster.runner.commit import SIDECAR, run_of, sidecar_name
from ingest.catalog import Catalog, ShardRecord
from ingest.errors import StorageError
from ingest.storage import Store, open_store
from pipelines.shards.verify import check_shard


@dataclass(slots=True, kw_only=True)
class Verified:
    shards: int = 0
    samples: int = 0
    faults: list[str] = field(default_factory=list)


def verify(settings: Settings, *, deep: bool) -> Verified:
    """Every committed shard read back; every fault as one line that names the shard."""
    store = open_store(settings.store.shards_uri)
    report = Verified()
    seen: dict[str, str] = {}
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        entries = {entry.name for entry in store.list()}
        live = set(catalog.live_runs())
        shards = catalog.shards()
        for shard in shards:
            _verify_shard(shard, store, report, entries=entries, live=live, seen=seen, deep=deep)
        committed = {shard.name for shard in shards}
        for name in sorted(entries):
            tar = name.removesuffix(SIDECAR)
            if tar not in committed and run_of(tar) not in live:
                report.faults.append(f"{name}: was never committed; the next `mien run` removes it")
    return report


def _verify_shard(
    shard: ShardRecord,
    store: Store,
    report: Verified,
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
