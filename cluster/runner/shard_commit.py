"""Commits a shard: the published tar, then one transaction (the shard and its segments), then the sidecar."""

from __future__ import annotations

import re

from mien.ingest.catalog import Catalog, SegmentRecord, ShardRecord
from mien.ingest.errors import LeaseLostError
from mien.ingest.storage import Store
from mien.pipelines.data import SegmentDone, Shard

SIDECAR = ".parquet"
SHARD_NAME = re.compile(r"[0-9a-z]{14}-[0-9a-f]{6}-\d{5,}\.tar(\.parquet)?")
"""Names of shards that pipelines/shards/write.py creates, and of their sidecars."""


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
    """Commits a published shard and makes it visible to readers.

    Returns the keys of segments that another run has taken over. If there are any, nothing is committed: the
    tar is deleted, and the caller rewrites the other segments.
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
