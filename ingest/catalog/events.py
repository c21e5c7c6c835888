"""The story of each video, for people to read.

It is as long as the corpus is large, some ten lines a video. Only what is repeated has no end of its own (a
platform refuses for weeks, runs are killed and go on), so of each video the latest lines are kept.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, insert, select

from mien.ingest.catalog.schema import events

TEXT_CHARACTERS = 20_000
"""Of a raw error; a decoder can say the same thing a million times."""

KEPT_LINES = 200
"""Of a video, when it is begun again."""
BEGUN = "claimed"

_TELL = insert(events)
_OLDER = (
    select(events.c.seq)
    .where(events.c.video_key == bindparam("key"))
    .order_by(events.c.seq.desc())
    .offset(KEPT_LINES)
    .limit(1)
)
_SHORTEN = delete(events).where(
    events.c.video_key == bindparam("key"), events.c.seq <= _OLDER.scalar_subquery()
)


def append_events(
    connection: Connection, now: float, run_id: str, story: Iterable[tuple[str, str, str]]
) -> None:
    """Adds (video key, what, text) to the story."""
    rows = [
        {"at": now, "run_id": run_id, "video_key": key, "what": what, "text": text}
        for key, what, text in story
    ]
    if rows:
        connection.execute(_TELL, rows)
    if begun := [{"key": row["video_key"]} for row in rows if row["what"] == BEGUN]:
        connection.execute(_SHORTEN, begun)
