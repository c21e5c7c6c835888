"""Search filters of videos, and their relaxation when another search finds the same video."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, bindparam, update

from mien.ingest.catalog import manual_retry
from mien.ingest.catalog.schema import videos
from mien.ingest.errors import FilteredOutError
from mien.ingest.media import SearchFilter, VideoRef

NOTHING = "[]"

_UPDATE = update(videos).where(videos.c.key == bindparam("video")).values(filters_json=bindparam("filters"))


def union(some: tuple[SearchFilter, ...], others: tuple[SearchFilter, ...]) -> tuple[SearchFilter, ...]:
    """Filters that accept a video if either set accepts it. An empty set accepts every video."""
    if not some or not others:
        return ()
    return (*some, *(other for other in others if other not in some))


def to_json(filters: tuple[SearchFilter, ...]) -> str:
    if not filters:
        return NOTHING
    return json.dumps([{name: value for name, value in asdict(each).items() if value} for each in filters])


def from_json(text: str) -> tuple[SearchFilter, ...]:
    return () if text == NOTHING else tuple(SearchFilter(**fields) for fields in json.loads(text))


def relax(
    connection: Connection, now: float, stored: Iterable[Row[*tuple[Any, ...]]], found: Mapping[str, VideoRef]
) -> None:
    """Merges the filters of known videos that were found again. Videos that a filter had refused wait again
    if the filters became wider."""
    wider, refused = [], []
    for row in sorted(stored, key=lambda row: str(row.key)):
        filters = to_json(union(from_json(row.filters_json), found[row.key].filters))
        if filters != row.filters_json:
            wider.append({"video": row.key, "filters": filters})
            if row.error_class == FilteredOutError.__name__:
                refused.append(row.key)
    if wider:
        connection.execute(_UPDATE, wider)
    for key in refused:
        manual_retry.retry(connection, now, FilteredOutError.__name__, key)
