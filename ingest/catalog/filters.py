"""What searches ask of the videos that they found, and what happens when another one asks for less."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, bindparam, update

from mien.ingest.catalog import retries
from mien.ingest.catalog.schema import videos
from mien.ingest.errors import FilteredOutError
from mien.ingest.media import SearchFilter, VideoRef

NOTHING = "[]"

_UPDATE = update(videos).where(videos.c.key == bindparam("video")).values(filters_json=bindparam("filters"))


def union(some: tuple[SearchFilter, ...], others: tuple[SearchFilter, ...]) -> tuple[SearchFilter, ...]:
    """What fits if it is as one or the other asks; who asks for nothing takes everything."""
    if not some or not others:
        return ()
    return (*some, *(wish for wish in others if wish not in some))


def written(wanted: tuple[SearchFilter, ...]) -> str:
    if not wanted:
        return NOTHING
    return json.dumps([{name: value for name, value in asdict(wish).items() if value} for wish in wanted])


def read(text: str) -> tuple[SearchFilter, ...]:
    return () if text == NOTHING else tuple(SearchFilter(**wish) for wish in json.loads(text))


def relax(
    connection: Connection, now: float, stored: Iterable[Row[*tuple[Any, ...]]], found: Mapping[str, VideoRef]
) -> None:
    """Known videos, found again: those that were refused and may be wanted now wait again."""
    wider, refused = [], []
    for row in sorted(stored, key=lambda row: str(row.key)):
        filters = written(union(read(row.filters_json), found[row.key].filters))
        if filters != row.filters_json:
            wider.append({"video": row.key, "filters": filters})
            if row.error_class == FilteredOutError.__name__:
                refused.append(row.key)
    if wider:
        connection.execute(_UPDATE, wider)
    for key in refused:
        retries.retry(connection, now, FilteredOutError.__name__, key)
