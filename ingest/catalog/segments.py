"""Records ended segments, and ends videos whose last segment has ended."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, case, func, insert, select, update

from mien.ingest.catalog import counters, runs
from mien.ingest.catalog.events import TEXT_CHARACTERS, append_events
from mien.ingest.catalog.queue import KEYS_PER_STATEMENT
from mien.ingest.catalog.records import SegmentFailure, SegmentRecord
from mien.ingest.catalog.schema import DONE, FAILED, PARTIAL, segments, videos

SegmentKey = tuple[str, int]
Before = Mapping[SegmentKey, tuple[str, dict[str, float]]]
"""State and seconds by fate of segments that had ended before."""

# A range instead of a list of pairs, for which SQLite would read the whole table.
_ENDED = select(
    segments.c.video_key, segments.c.start_ms, segments.c.state, segments.c.seconds_by_fate
).where(
    segments.c.video_key.in_(bindparam("keys", expanding=True)),
    segments.c.start_ms.between(bindparam("first"), bindparam("last")),
)
_INSERT = insert(segments)
_REPLACE = (
    update(segments)
    .where(segments.c.video_key == bindparam("key"), segments.c.start_ms == bindparam("start"))
    .values(
        {
            name: bindparam(f"new_{name}")
            for name in (
                "end_ms",
                "state",
                "seconds_by_fate",
                "sample_count",
                "shard",
                "run_id",
                "stage",
                "error_class",
                "error_text",
            )
        }
    )
)
_COMPLETE = (
    select(
        videos.c.key,
        func.coalesce(func.sum(case((segments.c.state == FAILED, 1), else_=0)), 0).label("failed"),
    )
    .outerjoin_from(videos, segments, segments.c.video_key == videos.c.key)
    .where(videos.c.key.in_(bindparam("keys", expanding=True)), videos.c.segment_count.is_not(None))
    .group_by(videos.c.key, videos.c.segment_count)
    .having(func.count(segments.c.start_ms) >= videos.c.segment_count)
)
_FINISH = (
    update(videos)
    .where(videos.c.key.in_(bindparam("keys", expanding=True)))
    .values(state=bindparam("end"), run_id=None)
)


def record_done(connection: Connection, now: float, run_id: str, records: Sequence[SegmentRecord]) -> None:
    runs.require_alive(connection, now, run_id, [record.key for record in records])
    before = ended(connection, records)
    fresh = [record for record in records if before.get(_key(record), ("", {}))[0] != DONE]
    runs.require_held(connection, run_id, by_video(fresh))
    put_segments(connection, run_id, [done_row(run_id, record, None) for record in fresh], before)
    finish_videos(connection, now, run_id, {record.video_key for record in fresh})


def record_failure(connection: Connection, now: float, run_id: str, failure: SegmentFailure) -> None:
    runs.require_alive(connection, now, run_id, [failure.key])
    before = ended(connection, [failure])
    if before:
        return
    runs.require_held(connection, run_id, by_video([failure]))
    seconds = failure.seconds_by_fate or {counters.FAILED: (failure.end_ms - failure.start_ms) / 1000}
    raw = failure.text[:TEXT_CHARACTERS]
    row = {
        "video_key": failure.video_key,
        "start_ms": failure.start_ms,
        "end_ms": failure.end_ms,
        "state": FAILED,
        "seconds_by_fate": json.dumps(seconds),
        "sample_count": 0,
        "shard": None,
        "run_id": run_id,
        "stage": failure.stage,
        "error_class": failure.error_class,
        "error_text": raw,
    }
    put_segments(connection, run_id, [row], before)
    what = f"{failure.start_ms:09d} {failure.stage}: {failure.error_class}: {raw}"
    append_events(connection, now, run_id, [(failure.video_key, "segment failed", what)])
    finish_videos(connection, now, run_id, {failure.video_key})


def ended(connection: Connection, records: Iterable[SegmentRecord | SegmentFailure]) -> Before:
    asked = {_key(record) for record in records}
    if not asked:
        return {}
    keys = sorted({key for key, _ in asked})
    starts = [start_ms for _, start_ms in asked]
    found: dict[SegmentKey, tuple[str, dict[str, float]]] = {}
    for first in range(0, len(keys), KEYS_PER_STATEMENT):
        part = {"keys": keys[first : first + KEYS_PER_STATEMENT], "first": min(starts), "last": max(starts)}
        for row in connection.execute(_ENDED, part):
            if (row.video_key, row.start_ms) in asked:
                found[row.video_key, row.start_ms] = (row.state, json.loads(row.seconds_by_fate))
    return found


def put_segments(
    connection: Connection,
    run_id: str,
    rows: Sequence[dict[str, Any]],
    before: Before,
) -> None:
    """Inserts new segments. Replaces segments that had failed, and subtracts their seconds."""
    unique = {(row["video_key"], row["start_ms"]): row for row in rows}
    new = [row for key, row in unique.items() if key not in before]
    replaced = [row for key, row in unique.items() if key in before]
    if new:
        connection.execute(_INSERT, new)
    if replaced:
        connection.execute(
            _REPLACE,
            [
                {"key": row["video_key"], "start": row["start_ms"]}
                | {
                    f"new_{name}": value
                    for name, value in row.items()
                    if name not in ("video_key", "start_ms")
                }
                for row in replaced
            ],
        )
    gained = [json.loads(row["seconds_by_fate"]) for row in unique.values()]
    deltas = counters.fates(gained, [before[key][1] for key in unique if key in before])
    deltas[counters.SEGMENTS_DONE] = float(sum(row["state"] == DONE for row in unique.values()))
    counters.add(connection, run_id, deltas)


def finish_videos(connection: Connection, now: float, run_id: str, keys: Collection[str]) -> None:
    """Ends the videos whose last segment has ended."""
    if not keys:
        return
    failed = {row.key: row.failed for row in connection.execute(_COMPLETE, {"keys": sorted(keys)})}
    for end in (DONE, PARTIAL):
        finished = [key for key, count in failed.items() if (count > 0) == (end == PARTIAL)]
        if finished:
            connection.execute(_FINISH, {"keys": finished, "end": end})
            append_events(connection, now, run_id, [(key, end, "") for key in finished])


def by_video(records: Iterable[SegmentRecord | SegmentFailure]) -> dict[str, list[str]]:
    grouped: dict[str, list[str]] = {}
    for record in records:
        grouped.setdefault(record.video_key, []).append(record.key)
    return grouped


def done_row(run_id: str, record: SegmentRecord, shard: str | None) -> dict[str, Any]:
    return {
        "video_key": record.video_key,
        "start_ms": record.start_ms,
        "end_ms": record.end_ms,
        "state": DONE,
        "seconds_by_fate": json.dumps(record.seconds_by_fate),
        "sample_count": record.sample_count,
        "shard": shard,
        "run_id": run_id,
        "stage": None,
        "error_class": None,
        "error_text": None,
    }


def _key(record: SegmentRecord | SegmentFailure) -> SegmentKey:
    return record.video_key, record.start_ms
