"""Videos come in, and runs take them."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from functools import partial
from itertools import islice
from typing import Any

from sqlalchemy import Connection, Row, bindparam, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from ingest.catalog import runs
from ingest.catalog.database import Database
from ingest.catalog.records import AddResult
from ingest.catalog.schema import NO_FINGERPRINT, PUT_OFF, RUNNING, WAITING, events, queries, segments, videos
from ingest.media import Job, VideoRef

ADD_BATCH = 500
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
_FIRST_QUERIES = select(videos.c.key, videos.c.query).where(
    videos.c.key.in_(bindparam("keys", expanding=True))
)

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
)
_CANDIDATES = select(videos.c.seq, videos.c.key, videos.c.fingerprint, videos.c.attempts, *REF_COLUMNS).where(
    videos.c.state == WAITING, videos.c.fingerprint == bindparam("fingerprint")
)
# What was begun comes first, then what was put off and is due, then what is new; each in order of age. Every
# query is one range of the index, and locks no more than it takes: another run never sees a false end.
_FRESH = (
    _CANDIDATES.where(videos.c.next_try_at == 0.0)
    .order_by(videos.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DUE = (
    _CANDIDATES.where(videos.c.next_try_at > 0.0, videos.c.next_try_at <= bindparam("now"))
    .order_by(videos.c.next_try_at, videos.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_TAKE = (
    update(videos)
    .where(videos.c.seq.in_(bindparam("seqs", expanding=True)))
    # The run that holds a video cuts it itself, so it ends only when *this* run has cut it.
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
_ENDED = select(segments.c.video_key, segments.c.start_ms).where(
    segments.c.video_key.in_(bindparam("keys", expanding=True))
)
_TELL = insert(events)


def add(database: Database, now: float, refs: Iterable[VideoRef]) -> AddResult:
    """Batches are transactions of their own: `refs` may be a search that takes an hour."""
    result = AddResult()
    seen: set[str] = set()
    source = iter(refs)
    while batch := list(islice(source, ADD_BATCH)):
        new = database.write(partial(_add_batch, now=now, batch=batch))
        for video in batch:
            if video.key not in seen:
                seen.add(video.key)
                (result.new if video.key in new else result.known).append(video.key)
    return result


def _add_batch(connection: Connection, *, now: float, batch: Sequence[VideoRef]) -> set[str]:
    first: dict[str, VideoRef] = {}
    for video in batch:
        first.setdefault(video.key, video)
    rows = [_ref_row(video, now) for video in first.values()]
    new = set(connection.scalars(_INSERT[connection.dialect.name], rows))
    queries_of = {key: video.query for key, video in first.items() if key in new}
    if len(new) < len(first):
        known = [key for key in first if key not in new]
        queries_of |= {row.key: row.query for row in connection.execute(_FIRST_QUERIES, {"keys": known})}
    further = sorted(
        {(video.key, video.query) for video in batch if video.query not in ("", queries_of[video.key])}
    )
    if further:
        told = [{"video_key": key, "query": query, "at": now} for key, query in further]
        connection.execute(_INSERT_QUERY[connection.dialect.name], told)
    return new


def claim(connection: Connection, now: float, run_id: str, limit: int) -> list[Job]:
    own = runs.require_alive(connection, now, run_id)
    runs.end_expired(connection, now)
    taken: list[Row[Any]] = []
    for statement, fingerprint in (
        (_FRESH, own),
        (_DUE, own),
        (_DUE, NO_FINGERPRINT),
        (_FRESH, NO_FINGERPRINT),
    ):
        if len(taken) < limit:
            values = {"fingerprint": fingerprint, "now": now, "limit": limit - len(taken)}
            if statement is _FRESH:
                del values["now"]
            taken += connection.execute(statement, values)
    ended: dict[str, set[int]] = {}
    for first in range(0, len(taken), KEYS_PER_STATEMENT):
        part = taken[first : first + KEYS_PER_STATEMENT]
        seqs = [row.seq for row in part]
        connection.execute(_TAKE, {"seqs": seqs, "run": run_id, "print": own})
        begun = [row.key for row in part if row.fingerprint != NO_FINGERPRINT]
        if begun:
            for key, start_ms in connection.execute(_ENDED, {"keys": begun}):
                ended.setdefault(key, set()).add(start_ms)
        told = [
            {"at": now, "run_id": run_id, "video_key": row.key, "what": "claimed", "text": ""} for row in part
        ]
        connection.execute(_TELL, told)
    return [
        Job(video=ref(row), done_starts_ms=frozenset(ended.get(row.key, ())), attempts=row.attempts)
        for row in taken
    ]


def next_try_at(connection: Connection, now: float, fingerprint: str | None) -> float | None:
    statement = select(func.min(videos.c.next_try_at))
    if fingerprint is None:
        # Only a video that waits is put off, and only these words let SQLite use the index of those.
        statement = statement.where(PUT_OFF, videos.c.next_try_at > now)
    else:
        statement = statement.where(videos.c.state == WAITING, videos.c.next_try_at > 0)
        statement = statement.where(videos.c.fingerprint.in_([NO_FINGERPRINT, fingerprint]))
    earliest: float | None = connection.scalar(statement)
    return earliest


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
        "added_at": now,
    }
