"""Finds videos with nearly the same sound, for people to inspect. Nothing is dropped automatically.

    prints    the Chromaprint of each video that has one (ingest/fetch/sound_print.py)
    marks     its `MARKS` lowest hash values; videos that share some are compared

A value that two recordings share is equally likely to be among the lowest of both, wherever it is in the
recording (bottom-k sketch, Broder 1997). So a missing beginning does not matter.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Index,
    LargeBinary,
    PrimaryKeyConstraint,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
)

from mien.ingest.catalog.schema import Key, metadata

MARKS = 64
MIN_VALUES = 24
"""About three seconds: shorter sounds are not distinctive, and silence has only one value."""
MAX_ERROR = 0.2
"""Fraction of different bits: 0.5 by chance, 0.4 for two talks, below 0.1 for two encodings of one talk."""
_COMPARED = 20
_SHIFT_VALUES = 240
"""About 30 s: the maximum difference of the start times."""
_MIN_SHARE = 0.5
"""Minimum fraction of the shorter recording that must overlap."""

prints = Table(
    "prints",
    metadata,
    Column("video_key", Key, primary_key=True),
    Column("print", LargeBinary, nullable=False),
)
marks = Table(
    "marks",
    metadata,
    Column("video_key", Key, nullable=False),
    Column("mark", BigInteger, nullable=False),
    PrimaryKeyConstraint("video_key", "mark"),
)
Index("marks_mark", marks.c.mark, marks.c.video_key)

_OF: Any = bindparam("key")
_OWN = select(marks.c.mark).where(marks.c.video_key == _OF)
_SHARING = (
    select(marks.c.video_key)
    .where(marks.c.mark.in_(_OWN), marks.c.video_key != _OF)
    .group_by(marks.c.video_key)
    .order_by(func.count().desc(), marks.c.video_key)
    .limit(_COMPARED)
)


def record_print(connection: Connection, key: str, sound_print: bytes) -> None:
    """Replaces the video's fingerprint. Stores nothing for a sound that is too short or silent."""
    for table in (prints, marks):
        connection.execute(delete(table).where(table.c.video_key == key))
    chosen = _marks(sound_print)
    if chosen:
        connection.execute(insert(prints), {"video_key": key, "print": sound_print})
        connection.execute(insert(marks), [{"video_key": key, "mark": mark} for mark in chosen])


def near_duplicates(connection: Connection, key: str) -> list[str]:
    """Keys of the videos with the same sound, most similar first."""
    own = connection.scalar(select(prints.c.print).where(prints.c.video_key == key))
    if own is None:
        return []
    candidates = list(connection.scalars(_SHARING, {"key": key}))
    rows = connection.execute(select(prints).where(prints.c.video_key.in_(candidates)))
    errors = {row.video_key: difference(own, row.print) for row in rows}
    return sorted((one for one in errors if errors[one] <= MAX_ERROR), key=lambda one: (errors[one], one))


def difference(one: bytes, other: bytes) -> float:
    """The fraction of different bits at the best overlap; 1.0 if the overlap is always too short."""
    import numpy as np

    a, b = (np.frombuffer(sound_print, dtype="<u4") for sound_print in (one, other))
    shortest = max(MIN_VALUES, int(_MIN_SHARE * min(a.size, b.size)))
    best = 1.0
    for shift in range(-_SHIFT_VALUES, _SHIFT_VALUES + 1):
        x, y = (a[shift:], b) if shift >= 0 else (a, b[-shift:])
        count = min(x.size, y.size)
        if count >= shortest:
            best = min(best, float(np.bitwise_count(x[:count] ^ y[:count]).mean()) / 32)
    return best


def _marks(sound_print: bytes) -> list[int]:
    import numpy as np

    values: Any = np.unique(np.frombuffer(sound_print, dtype="<u4"))
    if values.size < MIN_VALUES:
        return []
    # Knuth's multiplicative hash makes the choice of the lowest values independent of their meaning.
    hashed = np.sort(values.astype(np.uint64) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF))
    return [int(mark) for mark in hashed[:MARKS]]
