"""What a run records about a whole video. Every write first checks that the run still holds the video."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

from sqlalchemy import Connection, bindparam, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog import counters, duplicates, runs
from mien.ingest.catalog.events import TEXT_CHARACTERS, append_events
from mien.ingest.catalog.records import MediaRecord, VideoFailure
from mien.ingest.catalog.schema import DONE, FAILED, PARTIAL, WAITING, media, segments, videos
from mien.ingest.catalog.segments import finish_videos
from mien.ingest.errors import Policy

_MEDIA_FIELDS = ("sha256", "bytes", "duration_seconds", "probe_json")


def _replacing(dialect_insert: Any) -> Any:
    statement = dialect_insert(media)
    return statement.on_conflict_do_update(
        index_elements=[media.c.video_key], set_={name: statement.excluded[name] for name in _MEDIA_FIELDS}
    )


_PUT_MEDIA = {"sqlite": _replacing(sqlite.insert), "postgresql": _replacing(postgresql.insert)}
_MEDIA = select(media.c.sha256, media.c.bytes, media.c.duration_seconds, media.c.probe_json).where(
    media.c.video_key == bindparam("key")
)
_DUPLICATE_OF = "duplicate_of"
"""Key in the probe of a duplicate file. The seconds of such a file are not counted."""
_SPLIT = select(videos.c.state, videos.c.segment_count).where(videos.c.key == bindparam("key"))
_SET_SPLIT = update(videos).where(videos.c.key == bindparam("video")).values(segment_count=bindparam("count"))
_FAIL = (
    update(videos)
    .where(videos.c.key == bindparam("video"))
    .values(
        state=bindparam("new_state"),
        run_id=None,
        fingerprint=runs.FREED_FINGERPRINT,
        attempts=videos.c.attempts + bindparam("charge"),
        next_try_at=bindparam("when"),
        failed_seconds=bindparam("lost_seconds"),
        stage=bindparam("at_stage"),
        error_class=bindparam("class"),
        error_text=bindparam("raw"),
    )
)
_COVERED_MS = select(func.coalesce(func.sum(segments.c.end_ms - segments.c.start_ms), 0)).where(
    segments.c.video_key == bindparam("key")
)


def record_media(
    connection: Connection,
    now: float,
    run_id: str,
    key: str,
    info: MediaRecord,
    *,
    unique: bool = False,
    in_doubt: bool = False,
) -> str | None:
    """With `unique`, ends a video whose bytes another video owns as a duplicate; returns the owner's key.

    A duplicate counts as fetched, but its seconds count only for the owner. `in_doubt`: this may have been
    committed already.
    """
    fingerprint = runs.require_alive(connection, now, run_id, [key])
    if in_doubt and (other := duplicates.ended_as(connection, key, info.sha256, fingerprint)) is not None:
        return other
    runs.require_held(connection, run_id, {key: [key]})
    other = duplicates.same_bytes(connection, key, info.sha256, fingerprint)
    if other is not None and unique:
        _put(connection, run_id, key, _as_duplicate(info, other))
        text = f"same bytes as {other}; duplicates are skipped (fetch.duplicates)"
        failure = VideoFailure(
            key=key, stage="fetch", error_class=duplicates.ERROR_CLASS, text=text, policy=Policy.PERMANENT
        )
        record_video_failure(connection, now, run_id, failure)
        return other
    changed = _put(connection, run_id, key, info)
    if changed:
        append_events(connection, now, run_id, [(key, "changed", f"sha256 {changed} became {info.sha256}")])
    return None


def _put(connection: Connection, run_id: str, key: str, info: MediaRecord) -> str:
    """Writes and counts the media. Returns the previous hash if it was different, else ""."""
    before = connection.execute(_MEDIA, {"key": key}).one_or_none()
    row = {name: getattr(info, name) for name in _MEDIA_FIELDS}
    connection.execute(_PUT_MEDIA[connection.dialect.name], [{"video_key": key, **row}])
    seconds = _counted_seconds(info) - (_counted_seconds(before) if before else 0.0)
    deltas = {
        counters.MEDIA_SECONDS: seconds,
        counters.FETCHED: 0.0 if before else 1.0,
        counters.FETCHED_BYTES: float(info.bytes - (before.bytes if before else 0)),
    }
    counters.add(connection, run_id, deltas)
    return str(before.sha256) if before and before.sha256 != info.sha256 else ""


def _as_duplicate(info: MediaRecord, other: str) -> MediaRecord:
    return replace(info, probe_json=json.dumps({_DUPLICATE_OF: other, **json.loads(info.probe_json)}))


def _counted_seconds(row: Any) -> float:
    return 0.0 if _DUPLICATE_OF in json.loads(row.probe_json) else float(row.duration_seconds)


def record_video_failure(connection: Connection, now: float, run_id: str, failure: VideoFailure) -> None:
    key = failure.key
    runs.require_alive(connection, now, run_id, [key])
    runs.require_held(connection, run_id, {key: [key]})
    final, lost_seconds = failure.policy is Policy.PERMANENT, 0.0
    if final and (known := connection.execute(_MEDIA, {"key": key}).one_or_none()):
        covered_ms = connection.scalar(_COVERED_MS, {"key": key}) or 0
        lost_seconds = max(0.0, _counted_seconds(known) - covered_ms / 1000)
    raw = failure.text[:TEXT_CHARACTERS]
    connection.execute(
        _FAIL,
        {
            "video": key,
            "new_state": FAILED if final else WAITING,
            "charge": 0 if failure.policy is Policy.STOP else 1,
            "when": 0.0 if final else failure.next_try_at or 0.0,
            "lost_seconds": lost_seconds,
            "at_stage": failure.stage,
            "class": failure.error_class,
            "raw": raw,
        },
    )
    counters.add(connection, run_id, {counters.FATE + counters.FAILED: lost_seconds})
    append_events(
        connection, now, run_id, [(key, "failed", f"{failure.stage}: {failure.error_class}: {raw}")]
    )


def record_split(connection: Connection, now: float, run_id: str, key: str, segment_count: int) -> None:
    runs.require_alive(connection, now, run_id, [key])
    known = connection.execute(_SPLIT, {"key": key}).one_or_none()
    if known and known.state in (DONE, PARTIAL) and known.segment_count == segment_count:
        return
    runs.require_held(connection, run_id, {key: [key]})
    connection.execute(_SET_SPLIT, {"video": key, "count": segment_count})
    finish_videos(connection, now, run_id, {key})
