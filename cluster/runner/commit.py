"""The commit of a shard, and what makes it whole again after a kill at any instant.

Published tar, then one transaction (shard and its segments), then the sidecar. So a tar without a row is
rubbish, a row without a sidecar lacks only the sidecar, and there is no third case.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

from ingest.catalog import Catalog, SegmentRecord, ShardRecord
from ingest.errors import LeaseLostError
from ingest.storage import Store
from pipelines.data import SegmentDone, Shard
from pipelines.shards.index import encode_index, scan_tar

SIDECAR = ".parquet"


def sidecar_name(shard: str) -> str:
    return shard + SIDECAR


def run_of(name: str) -> str:
    """The run that wrote a tar (or sidecar) of this name."""
    return name.partition("-")[0]


def segment_record(done: SegmentDone, shard: str | None = None) -> SegmentRecord:
    return SegmentRecord(
        video_key=done.video_key,
        start_ms=done.start_ms,
        end_ms=done.end_ms,
        seconds_by_fate=done.seconds_by_fate,
        sample_count=done.sample_count,
        shard=shard,
    )


def commit_shard(catalog: Catalog, store: Store, run_id: str, shard: Shard) -> set[str]:
    """Commits a published shard and shows it to readers. Gives the segment keys that may not be committed.

    Those belong to another run by now; the tar is then deleted whole, and the caller writes the others
    again.
    """
    record = ShardRecord(
        name=shard.name,
        uri=shard.uri,
        bytes=shard.size_bytes,
        sha256=shard.sha256,
        sample_count=shard.sample_count,
        run_id=run_id,
        sidecar=False,
    )
    try:
        catalog.commit_shard(run_id, record, [segment_record(done, shard.name) for done in shard.segments])
    except LeaseLostError as error:
        store.delete(shard.name)
        return set(getattr(error, "lost", ())) or {done.key for done in shard.segments}
    store.publish_bytes(shard.index, sidecar_name(shard.name))
    catalog.mark_sidecar(shard.name)
    return set()


def recover(catalog: Catalog, store: Store, spool: Path, *, report: Callable[[str], None]) -> None:
    """Finishes or removes what killed runs left behind; what live runs are writing is left alone."""
    for shard in catalog.shards_without_sidecar():
        if shard.run_id in catalog.live_runs():
            continue
        if not store.exists(sidecar_name(shard.name)):
            with store.open(shard.name) as tar:
                rows = scan_tar(tar)
            index = encode_index(rows, shard=shard.name, sha256=shard.sha256, tar_bytes=shard.bytes)
            store.publish_bytes(index, sidecar_name(shard.name))
        catalog.mark_sidecar(shard.name)
        report(f"published the index of {shard.name}, which a killed run had not")
    # In this order: a file of a run that commits and ends meanwhile is then found in the catalog.
    names = [entry.name for entry in store.list()]
    live = set(catalog.live_runs())
    committed = catalog.shard_names()
    for name in names:
        shard_name = name.removesuffix(SIDECAR)
        ours = shard_name.endswith(".tar") and run_of(shard_name) not in live
        if ours and shard_name not in committed:
            store.delete(name)
            report(f"deleted {name}, which a killed run had not committed")
    for folder in spool.iterdir() if spool.is_dir() else ():
        if folder.is_dir() and folder.name not in live:
            shutil.rmtree(folder, ignore_errors=True)
