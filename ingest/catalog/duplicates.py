"""The same bytes under several names: the first video that shows them has them, the others are duplicates.

    contents    whose the bytes are, for each configuration that samples are made with

The row is written in the transaction that records what a fetched file is, so of two that are fetched at the
same moment one is first. It outlives runs: who has the bytes keeps them through kills, retries and backoff,
until it has failed for good with nothing to show for them, or turns out to hold other bytes by now.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import Column, Connection, PrimaryKeyConstraint, Table, bindparam, exists, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog.schema import FAILED, NO_FINGERPRINT, Key, media, metadata, segments, videos
from mien.ingest.errors import DuplicateMediaError

DUPLICATE = "duplicate"
"""How a video that ended as one is shown: in the tables it has failed, of this class."""
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
        exists().where(segments.c.video_key == contents.c.video_key).label("begun"),
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
_BEGUN = select(exists().where(segments.c.video_key == bindparam("key")))


def same_bytes(connection: Connection, key: str, sha256: str, fingerprint: str) -> str | None:
    """The other video that these bytes belong to, or None where they are (from now on) those of `key`.

    Within the transaction that also records the media of `key`. A video of which segments have ended goes on
    in any case: it may have been begun while duplicates were kept.
    """
    row = {"sha256": sha256, "fingerprint": fingerprint, "video_key": key}
    connection.execute(_PUT[connection.dialect.name], row)
    values = {"sha": sha256, "print": fingerprint}
    owner = connection.execute(_OWNER, values).one()
    if owner.video_key == key or connection.scalar(_BEGUN, {"key": key}):
        return None
    if _has_let_go(owner, sha256, fingerprint):
        connection.execute(_TAKE_OVER, {**values, "key": key})
        return None
    return str(owner.video_key)


def ended_as(connection: Connection, key: str, sha256: str, fingerprint: str) -> str | None:
    """The other video, where `key` has ended as its duplicate."""
    values = {"sha": sha256, "print": fingerprint, "key": key}
    other: str | None = connection.scalar(_ENDED_AS, values)
    return other


def _has_let_go(owner: Any, sha256: str, fingerprint: str) -> bool:
    failed = owner.state == FAILED and not owner.begun
    elsewhere = owner.fingerprint not in (NO_FINGERPRINT, fingerprint)
    return owner.state is None or failed or elsewhere or owner.sha256 != sha256
