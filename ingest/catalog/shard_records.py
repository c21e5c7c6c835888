"""Committed shards, and the transaction that makes each sample count exactly once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, insert, select, update

from mien.ingest.catalog import runs
from mien.ingest.catalog.events import append_events
from mien.ingest.catalog.records import SegmentRecord, ShardRecord
from mien.ingest.catalog.schema import DONE, shards
from mien.ingest.catalog.segments import by_video, done_row, ended, finish_videos, put_segments
from mien.ingest.errors import CatalogError, LeaseLostError

_FIELDS = ("name", "uri", "bytes", "sha256", "sample_count", "run_id", "sidecar")
_ALL = select(*(shards.c[name] for name in _FIELDS)).order_by(shards.c.at, shards.c.name)


def commit(
    connection: Connection, now: float, run_id: str, shard: ShardRecord, records: Sequence[SegmentRecord]
) -> None:
    """Commits the shard and its segments, or raises LeaseLostError and changes nothing. Idempotent."""
    keys_by_video = by_video(records)
    # Checked before the lease: a run that gets LeaseLostError deletes its tar, but this tar is committed,
    # even if the run was taken over before the database's answer arrived.
    known = connection.execute(_ALL.where(shards.c.name == shard.name)).one_or_none()
    if known is not None:
        if (known.run_id, known.sha256) == (run_id, shard.sha256):
            return  # the answer to the first commit was lost
        raise CatalogError(
            f"shard {shard.name} is already committed by run {known.run_id} with other content; "
            "use a unique name for every shard"
        )
    runs.require_alive(connection, now, run_id, [record.key for record in records])
    before = ended(connection, records)
    lost = {f"{key}-{start_ms:09d}" for (key, start_ms), (state, _) in before.items() if state == DONE}
    for video_key in runs.not_held(connection, run_id, keys_by_video):
        lost.update(keys_by_video[video_key])
    if lost:
        raise LeaseLostError(
            f"shard {shard.name} contains {len(lost)} of {len(records)} segments that are already committed "
            f"or belong to another run, starting with {min(lost)}; write the shard again without them",
            lost,
        )
    connection.execute(insert(shards), _row(shard, run_id, now))
    put_segments(connection, run_id, [done_row(run_id, record, shard.name) for record in records], before)
    append_events(
        connection,
        now,
        run_id,
        [(key, "committed", f"{len(keys)} segments in {shard.name}") for key, keys in keys_by_video.items()],
    )
    finish_videos(connection, now, run_id, keys_by_video)


def mark_sidecar(connection: Connection, name: str) -> None:
    marked = connection.execute(update(shards).where(shards.c.name == name).values(sidecar=True))
    if marked.rowcount == 0:
        raise CatalogError(
            f"no shard named {name} is committed; commit the shard before publishing its index"
        )


def listed(connection: Connection) -> list[ShardRecord]:
    return [_record(row) for row in connection.execute(_ALL)]


def without_sidecar(connection: Connection) -> list[ShardRecord]:
    return [_record(row) for row in connection.execute(_ALL.where(shards.c.sidecar.is_(False)))]


def names(connection: Connection) -> set[str]:
    return set(connection.scalars(select(shards.c.name)))


def _record(row: Row[Any]) -> ShardRecord:
    return ShardRecord(**{name: getattr(row, name) for name in _FIELDS})


def _row(shard: ShardRecord, run_id: str, now: float) -> dict[str, Any]:
    row = {name: getattr(shard, name) for name in _FIELDS}
    return row | {"run_id": run_id, "at": now}
