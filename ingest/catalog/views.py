"""Read-only views for people: the state of the whole catalog, and the history of one video."""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, or_, select

from mien.ingest.catalog import counters, duplicates, manual_retry, queue, runs
from mien.ingest.catalog.records import MediaRecord
from mien.ingest.catalog.schema import (
    FAILED,
    PUT_OFF,
    VIDEO_STATES,
    WAITING,
    events,
    media,
    queries,
    segments,
    shards,
    videos,
)
from mien.ingest.errors import UsageError
from mien.ingest.media import VideoRef
from mien.ingest.naming import path_uri

_CANDIDATES_SHOWN = 5
_LAST_CHARACTER = "\U0010ffff"
_RATE_LIMITED = (
    select(videos.c.rate_limited_source.label("platform"), func.count().label("videos"))
    .where(videos.c.state == WAITING, videos.c.rate_limited_source != "")
    .group_by(videos.c.rate_limited_source)
)
_PUT_OFF = select(func.count()).select_from(videos).where(PUT_OFF, videos.c.next_try_at > bindparam("now"))
_SEGMENT_OR_SAMPLE = re.compile(r"(?P<video>.+)-\d{9}(-\d{2})?")


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogStatus:
    """The whole catalog in numbers."""

    videos: dict[str, int]
    """Count per state, for every state. "failed" does not include "duplicate"."""
    segments: dict[str, int]
    """Ended segments by state: done, failed."""
    video_errors: dict[str, int]
    """Videos that failed or wait for a retry, by error class, most frequent first."""
    retrying: dict[str, int]
    """The part of `video_errors` that waits for a retry or is running."""
    segment_errors: dict[str, int]
    seconds_by_fate: dict[str, float]
    media_seconds: float
    """Total duration of all probed media."""
    shards: int
    shards_without_sidecar: int
    samples: int
    bytes: int
    """Size of all committed shards."""
    live_runs: list[str]
    next_try_at: float | None
    videos_by_fingerprint: dict[str, int]
    """Videos that were started, finished or failed under each configuration."""
    fetched: int
    """Videos whose media was fetched and probed at some time."""
    fetched_bytes: int
    retained: int
    """Videos with a retained copy in the media store."""
    retained_bytes: int
    rate_limited: dict[str, int]
    """Waiting videos per platform that count against a budget."""
    put_off: int
    """Videos that wait until a certain time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentHistory:
    """How one segment ended."""

    key: str
    start_ms: int
    end_ms: int
    state: str
    seconds_by_fate: dict[str, float]
    sample_count: int
    shard: str | None
    run_id: str
    stage: str | None
    error_class: str | None
    error_text: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    at: float
    """Seconds since the epoch."""
    run_id: str
    """"" if a person made the change."""
    what: str
    """claimed, released, segment failed, failed, changed, learned, committed, done, partial, retried."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoHistory:
    """Everything that the catalog knows about one video."""

    video: VideoRef
    queries: list[str]
    """All queries that found it, in order."""
    added_at: float
    state: str
    run_id: str | None
    """The run that currently holds it."""
    fingerprint: str | None
    attempts: int
    next_try_at: float | None
    stage: str | None
    error_class: str | None
    error_text: str | None
    media: MediaRecord | None
    segment_count: int | None
    segments: list[SegmentHistory]
    """The ended segments, in order of time."""
    events: list[Event]


def status(connection: Connection, now: float) -> CatalogStatus:
    states = connection.execute(select(videos.c.state, func.count().label("videos")).group_by(videos.c.state))
    by_state = Counter({row.state: row.videos for row in states})
    video_errors = manual_retry.video_errors(connection)
    by_state[duplicates.DUPLICATE] = video_errors.pop(duplicates.ERROR_CLASS, 0)
    by_state[FAILED] -= by_state[duplicates.DUPLICATE]
    sums = counters.sums(connection)
    segment_errors = manual_retry.segment_errors(connection)
    totals = connection.execute(
        select(
            func.count().label("shards"),
            func.count().filter(shards.c.sidecar.is_(False)).label("without"),
            func.coalesce(func.sum(shards.c.sample_count), 0).label("samples"),
            func.coalesce(func.sum(shards.c.bytes), 0).label("size"),
        )
    ).one()
    return CatalogStatus(
        videos={state: by_state[state] for state in (*VIDEO_STATES, duplicates.DUPLICATE)},
        segments={"done": round(sums.get(counters.SEGMENTS_DONE, 0)), "failed": sum(segment_errors.values())},
        video_errors=video_errors,
        retrying=manual_retry.retrying(connection),
        segment_errors=segment_errors,
        seconds_by_fate=_seconds_by_fate(sums),
        media_seconds=sums.get(counters.MEDIA_SECONDS, 0.0),
        shards=totals.shards,
        shards_without_sidecar=totals.without,
        samples=int(totals.samples),
        bytes=int(totals.size),
        live_runs=runs.live(connection, now),
        next_try_at=queue.next_try_at(connection, now, None),
        videos_by_fingerprint=queue.by_fingerprint(connection),
        fetched=_count(sums, counters.FETCHED),
        fetched_bytes=_count(sums, counters.FETCHED_BYTES),
        retained=_count(sums, counters.RETAINED),
        retained_bytes=_count(sums, counters.RETAINED_BYTES),
        rate_limited={row.platform: row.videos for row in connection.execute(_RATE_LIMITED)},
        put_off=connection.scalar(_PUT_OFF, {"now": now}) or 0,
    )


def explain(connection: Connection, needle: str) -> VideoHistory | None:
    """Raises UsageError if `needle` matches several videos."""
    rows = _find(connection, needle)
    if len(rows) > 1:
        names = ", ".join(row.key for row in rows) + (", …" if len(rows) == _CANDIDATES_SHOWN else "")
        raise UsageError(f"{needle!r} matches several videos: {names}; type more of the key")
    return _history(connection, rows[0]) if rows else None


def _find(connection: Connection, needle: str) -> list[Row[Any]]:
    """The videos of the most specific kind of match, if any."""
    word = needle.replace("\0", "").encode("utf-8", "replace").decode()
    conditions = [videos.c.key == word, or_(videos.c.id == word, videos.c.uri == needle)]
    if "\0" not in needle and "://" not in needle:
        # A symbolic link matches its own video first, and the video of its target second.
        paths = (os.path.abspath(needle), os.path.realpath(needle))  # noqa: PTH100
        conditions += [videos.c.uri == path_uri(path) for path in paths]
    if part := _SEGMENT_OR_SAMPLE.fullmatch(word):
        conditions.append(videos.c.key == part["video"])
    if word:
        conditions += [
            (name >= word) & (name < word + _LAST_CHARACTER) for name in (videos.c.key, videos.c.id)
        ]
    for condition in conditions:
        statement = select(videos).where(condition).order_by(videos.c.key).limit(_CANDIDATES_SHOWN)
        if rows := list(connection.execute(statement)):
            return rows
    return []


def _history(connection: Connection, row: Row[Any]) -> VideoHistory:
    further = (
        select(queries.c.query).where(queries.c.video_key == row.key).order_by(queries.c.at, queries.c.query)
    )
    stored = connection.execute(select(media).where(media.c.video_key == row.key)).one_or_none()
    ended = select(segments).where(segments.c.video_key == row.key).order_by(segments.c.start_ms)
    log = select(events).where(events.c.video_key == row.key).order_by(events.c.seq)
    return VideoHistory(
        video=queue.ref(row),
        queries=[query for query in (row.query, *connection.scalars(further)) if query],
        added_at=row.added_at,
        state=duplicates.DUPLICATE if row.error_class == duplicates.ERROR_CLASS else row.state,
        run_id=row.run_id,
        fingerprint=row.fingerprint or None,
        attempts=row.attempts,
        next_try_at=row.next_try_at or None,
        stage=row.stage,
        error_class=row.error_class,
        error_text=row.error_text,
        media=None
        if stored is None
        else MediaRecord(
            sha256=stored.sha256,
            bytes=stored.bytes,
            duration_seconds=stored.duration_seconds,
            probe_json=stored.probe_json,
        ),
        segment_count=row.segment_count,
        segments=[_segment_history(segment) for segment in connection.execute(ended)],
        events=[
            Event(at=event.at, run_id=event.run_id, what=event.what, text=event.text)
            for event in connection.execute(log)
        ],
    )


def _segment_history(row: Row[Any]) -> SegmentHistory:
    return SegmentHistory(
        key=f"{row.video_key}-{row.start_ms:09d}",
        start_ms=row.start_ms,
        end_ms=row.end_ms,
        state=row.state,
        seconds_by_fate=json.loads(row.seconds_by_fate),
        sample_count=row.sample_count,
        shard=row.shard,
        run_id=row.run_id,
        stage=row.stage,
        error_class=row.error_class,
        error_text=row.error_text,
    )


def _count(sums: dict[str, float], name: str) -> int:
    return max(0, round(sums.get(name, 0.0)))


def _seconds_by_fate(sums: dict[str, float]) -> dict[str, float]:
    """Omits fates whose seconds were fully subtracted: their sum is a rounding error."""
    fates = {
        name.removeprefix(counters.FATE): value
        for name, value in sums.items()
        if name.startswith(counters.FATE)
    }
    return {fate: value for fate, value in sorted(fates.items()) if abs(value) > 1e-6}
