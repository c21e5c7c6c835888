"""Retained copies of media, and the space that fetched media takes."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, field

from sqlalchemy import Connection, bindparam, func, select, update

from mien.ingest.catalog import counters, runs
from mien.ingest.catalog.events import append_events
from mien.ingest.catalog.queue import KEYS_PER_STATEMENT, RATE_LIMITED_SOURCES, REMOTE_SOURCES
from mien.ingest.catalog.schema import UNSETTLED, WAITING, egress, grants, media, videos

_KNOWN = (
    select(videos.c.media_uri, videos.c.source, media.c.bytes)
    .join_from(videos, media, media.c.video_key == videos.c.key, isouter=True)
    .where(videos.c.key == bindparam("key"))
)
_PUT = (
    update(videos)
    .where(videos.c.key == bindparam("video"))
    .values(media_uri=bindparam("copy_uri"), rate_limited_source=bindparam("limited_by"))
)
_STATES = select(videos.c.key, videos.c.state).where(videos.c.key.in_(bindparam("keys", expanding=True)))
_UNDER_WAY = (
    select(func.coalesce(func.sum(media.c.bytes), 0))
    .join_from(videos, media, media.c.video_key == videos.c.key)
    .where(videos.c.run_id.is_not(None), videos.c.source.in_(sorted(REMOTE_SOURCES)))
    .where(videos.c.media_uri.is_(None))
)
_FETCHED_BEFORE = (
    select(
        videos.c.rate_limited_source.label("platform"),
        func.coalesce(func.sum(media.c.bytes), 0).label("size"),
        func.count().label("videos"),
    )
    .join_from(media, videos, media.c.video_key == videos.c.key)
    .where(videos.c.state == WAITING, videos.c.media_uri.is_(None))
    .where(videos.c.source.in_(sorted(REMOTE_SOURCES)))
    .group_by(videos.c.rate_limited_source)
)
_COMING = (
    select(func.coalesce(func.sum(egress.c.mean_bytes), 0))
    .join_from(
        grants, egress, (egress.c.name == grants.c.identity) & (egress.c.platform == grants.c.platform)
    )
    .where(grants.c.settled_at == UNSETTLED)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRoom:
    retained_bytes: int
    """Of retained copies, which are never evicted."""
    under_way_bytes: int
    """Of fetched videos that runs work on and that have no retained copy. Downloads in progress from
    platforms count with the mean size."""
    waiting_bytes: int = 0
    """Of fetched videos that wait in a cache for a run to resume them; 0 unless requested."""
    waiting_videos: dict[str, int] = field(default_factory=dict)
    """Number of these videos per platform. They need not be downloaded again."""

    @property
    def bytes(self) -> int:
        return self.retained_bytes + self.under_way_bytes + self.waiting_bytes


def record(connection: Connection, now: float, run_id: str, key: str, uri: str) -> None:
    runs.require_alive(connection, now, run_id, [key])
    known = connection.execute(_KNOWN, {"key": key}).one_or_none()
    if known is None or known.media_uri == uri:
        return
    connection.execute(_PUT, {"video": key, "copy_uri": uri, "limited_by": ""})
    if known.media_uri is None:
        counters.add(
            connection, run_id, {counters.RETAINED: 1.0, counters.RETAINED_BYTES: float(known.bytes or 0)}
        )
    append_events(connection, now, run_id, [(key, "kept", uri)])


def forget(connection: Connection, now: float, run_id: str, key: str) -> None:
    runs.require_alive(connection, now, run_id, [key])
    known = connection.execute(_KNOWN, {"key": key}).one_or_none()
    if known is None or known.media_uri is None:
        return
    limited_by = known.source if known.source in RATE_LIMITED_SOURCES else ""
    connection.execute(_PUT, {"video": key, "copy_uri": None, "limited_by": limited_by})
    counters.add(
        connection, run_id, {counters.RETAINED: -1.0, counters.RETAINED_BYTES: -float(known.bytes or 0)}
    )
    append_events(connection, now, run_id, [(key, "kept copy lost", known.media_uri)])


def states(connection: Connection, keys: Collection[str]) -> dict[str, str]:
    asked = sorted(keys)
    found: dict[str, str] = {}
    for first in range(0, len(asked), KEYS_PER_STATEMENT):
        part = asked[first : first + KEYS_PER_STATEMENT]
        found |= {row.key: row.state for row in connection.execute(_STATES, {"keys": part})}
    return found


def media_room(connection: Connection, *, with_waiting: bool) -> MediaRoom:
    sums = counters.sums(connection)
    under_way = int(connection.scalar(_UNDER_WAY) or 0) + int(connection.scalar(_COMING) or 0)
    before = connection.execute(_FETCHED_BEFORE).all() if with_waiting else []
    return MediaRoom(
        retained_bytes=max(0, round(sums.get(counters.RETAINED_BYTES, 0.0))),
        under_way_bytes=under_way,
        waiting_bytes=sum(int(row.size) for row in before),
        waiting_videos={row.platform: int(row.videos) for row in before if row.platform},
    )
