"""Who sounds alike: near-duplicates, for people to look at. Nothing is dropped for it.

    prints    the Chromaprint of each video that has one (ingest/fetch/sound_print.py)
    marks     the `MARKS` of its values that hash lowest: whoever shares some is worth comparing

A value that two recordings of one sound share is as likely among the lowest of both, wherever in the
recording it is (bottom-k sketch, Broder 1997), so a part that was cut off at the beginning does no harm.
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
"""Three seconds: less says too little, and silence has one value throughout."""
MAX_ERROR = 0.2
"""Share of bits that differ: 0.5 by chance, 0.4 between two talks, below 0.1 between two encodings of one."""
_COMPARED = 20
_SHIFT_VALUES = 240
"""About 30 s: by so much one may begin later than the other."""
_MIN_SHARE = 0.5
"""Of the shorter one that must be in the other."""

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


def record_print(connection: Connection, key: str, heard: bytes) -> None:
    """Instead of what was heard of it before; without a word where it is too short or silent."""
    for table in (prints, marks):
        connection.execute(delete(table).where(table.c.video_key == key))
    chosen = _marks(heard)
    if chosen:
        connection.execute(insert(prints), {"video_key": key, "print": heard})
        connection.execute(insert(marks), [{"video_key": key, "mark": mark} for mark in chosen])


def near_duplicates(connection: Connection, key: str) -> list[str]:
    """Keys of the videos that sound the same, the most alike first."""
    own = connection.scalar(select(prints.c.print).where(prints.c.video_key == key))
    if own is None:
        return []
    candidates = list(connection.scalars(_SHARING, {"key": key}))
    rows = connection.execute(select(prints).where(prints.c.video_key.in_(candidates)))
    errors = {row.video_key: difference(own, row.print) for row in rows}
    return sorted((one for one in errors if errors[one] <= MAX_ERROR), key=lambda one: (errors[one], one))


def difference(one: bytes, other: bytes) -> float:
    """The share of bits that differ where both overlap best; 1.0 where they hardly overlap at all."""
    import numpy as np

    a, b = (np.frombuffer(heard, dtype="<u4") for heard in (one, other))
    shortest = max(MIN_VALUES, int(_MIN_SHARE * min(a.size, b.size)))
    best = 1.0
    for shift in range(-_SHIFT_VALUES, _SHIFT_VALUES + 1):
        x, y = (a[shift:], b) if shift >= 0 else (a, b[-shift:])
        count = min(x.size, y.size)
        if count >= shortest:
            best = min(best, float(np.bitwise_count(x[:count] ^ y[:count]).mean()) / 32)
    return best


def _marks(heard: bytes) -> list[int]:
    import numpy as np

    values: Any = np.unique(np.frombuffer(heard, dtype="<u4"))
    if values.size < MIN_VALUES:
        return []
    # Knuth's multiplicative hash: which values are lowest must not depend on what they mean.
    hashed = np.sort(values.astype(np.uint64) * np.uint64(2654435761) & np.uint64(0xFFFFFFFF))
    return [int(mark) for mark in hashed[:MARKS]]
