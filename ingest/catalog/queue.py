"""Adds videos to the catalog, and gives them to runs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import Connection, Row, bindparam, exists, func, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog import filters, merge_metadata
from mien.ingest.catalog.database import Database
from mien.ingest.catalog.events import CLAIMED, append_events
from mien.ingest.catalog.records import AddResult
from mien.ingest.catalog.schema import (
    NO_FINGERPRINT,
    PUT_OFF,
    RUNNING,
    UNSETTLED,
    WAITING,
    events,
    grants,
    queries,
    segments,
    videos,
)
from mien.ingest.media import Job, VideoRef
from mien.ingest.platforms import PLATFORMS

ADD_BATCH = 500
RATE_LIMITED_SOURCES = frozenset(PLATFORMS)
"""Sources whose videos are fetched within the budgets of egress identities."""
REMOTE_SOURCES = RATE_LIMITED_SOURCES | {"http", "object"}
"""Sources whose media is in a media cache while a run works on it."""
_ROWS_AT_ONCE = 10_000
KEYS_PER_STATEMENT = 5000
"""Both databases cap the parameters of one statement."""

_INSERT = {
    "sqlite": sqlite.insert(videos).on_conflict_do_nothing().returning(videos.c.key),
    "postgresql": postgresql.insert(videos).on_conflict_do_nothing().returning(videos.c.key),
}
_INSERT_QUERY = {
    "sqlite": sqlite.insert(queries).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(queries).on_conflict_do_nothing(),
}
_KNOWN = select(
    videos.c.key,
    videos.c.state,
    videos.c.query,
    videos.c.filters_json,
    videos.c.error_class,
    videos.c.title,
    videos.c.channel,
    videos.c.licence,
    videos.c.labels_json,
).where(videos.c.key.in_(bindparam("keys", expanding=True)))

REF_COLUMNS = (
    videos.c.source,
    videos.c.id,
    videos.c.uri,
    videos.c.title,
    videos.c.channel,
    videos.c.licence,
    videos.c.query,
    videos.c.declared_seconds,
    videos.c.labels_json,
    videos.c.filters_json,
)
CANDIDATE_COLUMNS = (
    videos.c.seq,
    videos.c.key,
    videos.c.fingerprint,
    videos.c.attempts,
    videos.c.media_uri,
    *REF_COLUMNS,
)
_TAKE = (
    update(videos)
    .where(videos.c.seq.in_(bindparam("seqs", expanding=True)))
    # The run that holds a video splits it itself, so the video ends only after *this* run has split it.
    .values(
        state=RUNNING,
        run_id=bindparam("run"),
        fingerprint=bindparam("print"),
        segment_count=None,
        next_try_at=0.0,
        stage=None,
        error_class=None,
        error_text=None,
    )
)
_GRANTED = (
    select(grants.c.identity)
    .where(grants.c.video_key == videos.c.key, grants.c.run_id == bindparam("run"))
    .where(grants.c.settled_at == UNSETTLED)
    .order_by(grants.c.seq.desc())
    .limit(1)
)
_TAKEN_AT = (
    select(*CANDIDATE_COLUMNS, _GRANTED.scalar_subquery().label("identity"))
    .join_from(videos, events, events.c.video_key == videos.c.key)
    .where(videos.c.run_id == bindparam("run"), events.c.run_id == bindparam("run"))
    .where(events.c.what == CLAIMED, events.c.at == bindparam("now"))
    .order_by(events.c.seq)
)
_ADDRESSES = select(videos.c.uri).where(videos.c.state == WAITING, videos.c.source == bindparam("source"))
_ENDED = select(segments.c.video_key, segments.c.start_ms).where(
    segments.c.video_key.in_(bindparam("keys", expanding=True))
)


def add(database: Database, now: float, refs: Iterable[VideoRef]) -> AddResult:
    """Each batch is its own transaction: `refs` may be a search that takes an hour."""
    result = AddResult()
    seen: set[str] = set()
    source = iter(refs)
    while batch := list(islice(source, ADD_BATCH)):
        new, learned = database.write(partial(_add_batch, now=now, batch=batch))
        for video in batch:
            if video.key not in seen:
                seen.add(video.key)
                (result.new if video.key in new else result.known).append(video.key)
        for key, is_written in learned.items():
            if key not in result.labelled:
                result.labelled.append(key)
                result.written.extend([key] if is_written else [])
    return result


def _add_batch(
    connection: Connection, *, now: float, batch: Sequence[VideoRef]
) -> tuple[set[str], dict[str, bool]]:
    """The new keys; and the known keys whose metadata changed, with whether they already have samples."""
    first: dict[str, VideoRef] = {}
    learned: dict[str, bool] = {}
    for video in batch:
        before = first.setdefault(video.key, video)
        merged = merge_metadata.merged(before, video)
        first[video.key] = replace(merged, filters=filters.union(before.filters, video.filters))
    rows = [_ref_row(video, now) for video in first.values()]
    new = set(connection.scalars(_INSERT[connection.dialect.name], rows))
    queries_of = {key: video.query for key, video in first.items() if key in new}
    if len(new) < len(first):
        known = [key for key in first if key not in new]
        stored = list(connection.execute(_KNOWN, {"keys": known}))
        queries_of |= {row.key: row.query for row in stored}
        filters.relax(connection, now, stored, first)
        learned = merge_metadata.merge(connection, now, stored, first)
    further = sorted(
        {(video.key, video.query) for video in batch if video.query not in ("", queries_of[video.key])}
    )
    if further:
        rows = [{"video_key": key, "query": query, "at": now} for key, query in further]
        connection.execute(_INSERT_QUERY[connection.dialect.name], rows)
    return new, learned


def take(
    connection: Connection,
    now: float,
    run_id: str,
    taken: Sequence[Row[Any]],
    *,
    own: str,
    identity: str = "",
) -> list[Job]:
    """Assigns rows with CANDIDATE_COLUMNS to the run, whose fingerprint is `own`."""
    through = f"through {identity}" if identity else ""
    for first in range(0, len(taken), KEYS_PER_STATEMENT):
        part = taken[first : first + KEYS_PER_STATEMENT]
        seqs = [row.seq for row in part]
        connection.execute(_TAKE, {"seqs": seqs, "run": run_id, "print": own})
        append_events(connection, now, run_id, [(row.key, CLAIMED, through) for row in part])
    ended = _ended(connection, [row.key for row in taken if row.fingerprint != NO_FINGERPRINT])
    return [_job(row, ended, identity) for row in taken]


def taken_at(connection: Connection, now: float, run_id: str) -> list[Job]:
    """The videos that the run claimed at `now` and holds."""
    rows: Sequence[Any] = connection.execute(_TAKEN_AT, {"run": run_id, "now": now}).all()
    ended = _ended(connection, [row.key for row in rows])
    return [_job(row, ended, row.identity or "") for row in rows]


def _ended(connection: Connection, keys: Sequence[str]) -> dict[str, set[int]]:
    """Start times of the ended segments, by video."""
    ended: dict[str, set[int]] = {}
    for first in range(0, len(keys), KEYS_PER_STATEMENT):
        for key, start_ms in connection.execute(_ENDED, {"keys": keys[first : first + KEYS_PER_STATEMENT]}):
            ended.setdefault(key, set()).add(start_ms)
    return ended


def _job(row: Row[Any], ended: Mapping[str, set[int]], identity: str) -> Job:
    return Job(
        video=ref(row),
        done_starts_ms=frozenset(ended.get(row.key, ())),
        attempts=row.attempts,
        identity=identity,
        media_uri=row.media_uri or "",
    )


def next_try_at(connection: Connection, now: float, fingerprint: str | None) -> float | None:
    statement = select(func.min(videos.c.next_try_at))
    if fingerprint is None:
        # Only a waiting video can be postponed. SQLite uses its index of those only with this condition.
        statement = statement.where(PUT_OFF, videos.c.next_try_at > now)
    else:
        statement = statement.where(videos.c.state == WAITING, videos.c.rate_limited_source == "")
        statement = statement.where(videos.c.next_try_at > 0)
        statement = statement.where(videos.c.fingerprint.in_([NO_FINGERPRINT, fingerprint]))
    earliest: float | None = connection.scalar(statement)
    return earliest


def has_waiting(connection: Connection, sources: Sequence[str]) -> bool:
    of_these = exists().where(videos.c.state == WAITING, videos.c.source.in_(sources))
    return bool(connection.scalar(select(of_these)))


def waiting_hosts(connection: Connection, source: str) -> set[tuple[str, str]]:
    found = set()
    rows = connection.execution_options(yield_per=_ROWS_AT_ONCE).scalars(_ADDRESSES, {"source": source})
    for uri in rows:
        parts = urlsplit(uri)
        found.add((parts.scheme, parts.hostname or ""))
    return found


def other_fingerprint_count(connection: Connection, fingerprint: str) -> int:
    return sum(count for other, count in by_fingerprint(connection).items() if other != fingerprint)


def by_fingerprint(connection: Connection) -> dict[str, int]:
    statement = (
        select(videos.c.fingerprint, func.count().label("videos"))
        .where(videos.c.fingerprint != NO_FINGERPRINT)
        .group_by(videos.c.fingerprint)
    )
    return {row.fingerprint: row.videos for row in connection.execute(statement)}


def ref(row: Row[Any]) -> VideoRef:
    return VideoRef(
        source=row.source,
        id=row.id,
        uri=row.uri,
        title=row.title,
        channel=row.channel,
        licence=row.licence,
        query=row.query,
        duration_seconds=row.declared_seconds,
        labels=json.loads(row.labels_json) if row.labels_json != "{}" else {},
        filters=filters.from_json(row.filters_json),
    )


def _ref_row(video: VideoRef, now: float) -> dict[str, Any]:
    return {
        "key": video.key,
        "source": video.source,
        "id": video.id,
        "uri": video.uri,
        "title": video.title,
        "channel": video.channel,
        "licence": video.licence,
        "query": video.query,
        "declared_seconds": video.duration_seconds,
        "labels_json": json.dumps(video.labels) if video.labels else "{}",
        "filters_json": filters.to_json(video.filters),
        "added_at": now,
        "rate_limited_source": video.source if video.source in RATE_LIMITED_SOURCES else "",
    }
