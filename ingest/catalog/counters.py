"""Running sums. Each run has its own rows; readers add up the rows of all runs."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, func, select
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog.schema import run_counters

FATE = "fate:"
MEDIA_SECONDS = "media_seconds"
FETCHED = "fetched"
FETCHED_BYTES = "fetched_bytes"
RETAINED = "kept"
RETAINED_BYTES = "kept_bytes"
"""Stored under the names that an existing catalog has."""
SEGMENTS_DONE = "segments_done"
FAILED = "failed"
"""Fate of the seconds that an error lost."""

NOBODY = ""
"""Run id of changes that people make on the command line."""


def _adding(insert: Any) -> Any:
    statement = insert(run_counters)
    return statement.on_conflict_do_update(
        index_elements=[run_counters.c.run_id, run_counters.c.name],
        set_={"value": run_counters.c.value + statement.excluded.value},
    )


_ADD = {"sqlite": _adding(sqlite.insert), "postgresql": _adding(postgresql.insert)}
_SUMS = select(run_counters.c.name, func.sum(run_counters.c.value)).group_by(run_counters.c.name)


def add(connection: Connection, run_id: str, deltas: Mapping[str, float]) -> None:
    rows = [
        {"run_id": run_id, "name": name, "value": value} for name, value in sorted(deltas.items()) if value
    ]
    if rows:
        connection.execute(_ADD[connection.dialect.name], rows)


def fates(
    gained: Iterable[Mapping[str, float]], lost: Iterable[Mapping[str, float]] = ()
) -> dict[str, float]:
    """Changes of the seconds per fate."""
    deltas: dict[str, float] = defaultdict(float)
    for sign, maps in ((1.0, gained), (-1.0, lost)):
        for seconds_by_fate in maps:
            for fate, seconds in seconds_by_fate.items():
                deltas[FATE + fate] += sign * seconds
    return deltas


def sums(connection: Connection) -> dict[str, float]:
    return {name: float(value) for name, value in connection.execute(_SUMS)}
