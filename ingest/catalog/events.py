"""The log of each video, for people.

A video normally has about ten events. Repeated events are unlimited (a platform refuses for weeks, runs are
killed and resumed), so only the latest events of each video are stored.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, bindparam, delete, insert, select

from mien.ingest.catalog.schema import events

TEXT_CHARACTERS = 20_000
"""Limit for the text of an error; a decoder can repeat a message a million times."""

MAX_EVENTS = 200
"""Events of a video that remain when it is claimed again."""
CLAIMED = "claimed"

_INSERT = insert(events)
_OLDER = (
    select(events.c.seq)
    .where(events.c.video_key == bindparam("key"))
    .order_by(events.c.seq.desc())
    .offset(MAX_EVENTS)
    .limit(1)
)
_SHORTEN = delete(events).where(
    events.c.video_key == bindparam("key"), events.c.seq <= _OLDER.scalar_subquery()
)


def append_events(
    connection: Connection, now: float, run_id: str, new_events: Iterable[tuple[str, str, str]]
) -> None:
    """Appends (video key, what, text) to the log."""
    rows = [
        {"at": now, "run_id": run_id, "video_key": key, "what": what, "text": text}
        for key, what, text in new_events
    ]
    if rows:
        connection.execute(_INSERT, rows)
    if claimed := [{"key": row["video_key"]} for row in rows if row["what"] == CLAIMED]:
        connection.execute(_SHORTEN, claimed)
