"""Identical files: the first video with certain bytes owns them, the others are duplicates.

    contents    the owner of each file, per configuration

The row is written in the transaction that records the fetched file, so if two videos are fetched at the same
moment, one is first. The row outlives runs: the owner stays the owner through kills, retries and backoff,
until it fails permanently without any ended segment, or its file has other bytes.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, PrimaryKeyConstraint, Table, bindparam, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog.schema import FAILED, NO_FINGERPRINT, Key, media, metadata, segments, videos
from mien.ingest.errors import DuplicateMediaError

DUPLICATE = "duplicate"
"""The displayed state of a duplicate. In the tables, it is a failed video with this error class."""
ERROR_CLASS = DuplicateMediaError.__name__

contents = Table(
    "contents",
    metadata,
    Column("sha256", Key, nullable=False),
    Column("fingerprint", Key, nullable=False),
    Column("video_key", Key, nullable=False),
    PrimaryKeyConstraint("sha256", "fingerprint"),
)

_PUT = {
    "sqlite": sqlite.insert(contents).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(contents).on_conflict_do_nothing(),
}
_THESE = (contents.c.sha256 == bindparam("sha"), contents.c.fingerprint == bindparam("print"))
_OWNER = (
    select(
        contents.c.video_key,
        videos.c.state,
        videos.c.fingerprint,
        media.c.sha256,
        exists().where(segments.c.video_key == contents.c.video_key).label("is_started"),
    )
    .outerjoin_from(contents, videos, videos.c.key == contents.c.video_key)
    .outerjoin(media, media.c.video_key == contents.c.video_key)
    .where(*_THESE)
    .with_for_update(of=contents)
)
_ENDED_AS = select(contents.c.video_key).where(
    *_THESE,
    exists().where(
        videos.c.key == bindparam("key"), videos.c.state == FAILED, videos.c.error_class == ERROR_CLASS
    ),
)
_TAKE_OVER = update(contents).where(*_THESE).values(video_key=bindparam("key"))
_HAS_SEGMENTS = select(exists().where(segments.c.video_key == bindparam("key")))


def same_bytes(connection: Connection, key: str, sha256: str, fingerprint: str) -> str | None:
    """The other video that owns these bytes, or None if `key` owns them (from now on).

    Runs within the transaction that records the media of `key`. A video with ended segments always continues:
    it may have started while duplicates were allowed.
    """
    row = {"sha256": sha256, "fingerprint": fingerprint, "video_key": key}
    connection.execute(_PUT[connection.dialect.name], row)
    values = {"sha": sha256, "print": fingerprint}
    owner = connection.execute(_OWNER, values).one()
    if owner.video_key == key or connection.scalar(_HAS_SEGMENTS, {"key": key}):
        return None
    if _gave_up_ownership(owner, sha256, fingerprint):
        connection.execute(_TAKE_OVER, {**values, "key": key})
        return None
    return str(owner.video_key)


def ended_as(connection: Connection, key: str, sha256: str, fingerprint: str) -> str | None:
    """The other video, if `key` has ended as its duplicate."""
    values = {"sha": sha256, "print": fingerprint, "key": key}
    other: str | None = connection.scalar(_ENDED_AS, values)
    return other


def _gave_up_ownership(owner: Any, sha256: str, fingerprint: str) -> bool:
    failed = owner.state == FAILED and not owner.is_started
    elsewhere = owner.fingerprint not in (NO_FINGERPRINT, fingerprint)
    return owner.state is None or failed or elsewhere or owner.sha256 != sha256
