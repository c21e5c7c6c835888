"""The story of each video, for people to read."""

from __future__ import annotations

from collections.abc import Iterable

from sqlalchemy import Connection, insert

from ingest.catalog.schema import events

TEXT_CHARACTERS = 20_000
"""Of a raw error; a decoder can say the same thing a million times."""

_TELL = insert(events)


def tell(connection: Connection, now: float, run_id: str, story: Iterable[tuple[str, str, str]]) -> None:
    """Adds (video key, what, text) to the story."""
    rows = [
        {"at": now, "run_id": run_id, "video_key": key, "what": what, "text": text}
        for key, what, text in story
    ]
    if rows:
        connection.execute(_TELL, rows)
