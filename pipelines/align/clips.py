"""Cuts a run in which all requirements hold into clips of allowed length, between words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mien.pipelines.data import ROW_HZ, Word
from mien.pipelines.rows import nearest_row

Run = tuple[int, int]
"""Half-open [first, last) in rows of the file's 25 Hz grid."""


def trim_to_words(run: Run, words: Sequence[Word], *, lead_rows: int) -> Run | None:
    """The part of `run` that its complete words span, with up to `lead_rows` of silence on each side.

    A word that crosses an edge of the run is excluded, and the clip starts after it or ends before it.
    None if the run contains no complete word.
    """
    low, high = run
    inside = [w for w in words if nearest_row(w.start) >= low and nearest_row(w.end) <= high]
    if not inside:
        return None
    first, last = inside[0], inside[-1]
    before = max((w.end for w in words if w.end <= first.start), default=-np.inf)
    after = min((w.start for w in words if w.start >= last.end), default=np.inf)
    # A clip gets at most half of the pause between it and a word outside.
    quiet_from = low if before == -np.inf else nearest_row((before + first.start) / 2)
    quiet_to = high if after == np.inf else nearest_row((after + last.end) / 2)
    start = max(low, nearest_row(first.start) - lead_rows, quiet_from)
    end = min(high, nearest_row(last.end) + lead_rows, quiet_to)
    return (start, end) if end > start else None


def cut_between_words(run: Run, words: Sequence[Word], *, min_rows: int, max_rows: int) -> list[Run]:
    """Cuts `run` into adjacent pieces of at most `max_rows`, in the widest pauses between its words.

    If there is no word boundary (no words, or a word longer than a clip), the pieces have equal lengths.
    Pieces are shorter than `min_rows` only if the run or its words allow nothing else.
    """
    low, high = run
    if high - low <= max_rows:
        return [run]
    # A cut must leave a valid clip on both sides, and the first must use at least half of `max_rows`.
    earliest, latest = low + max(min_rows, max_rows // 2), min(low + max_rows, high - min_rows)
    best: tuple[float, int] | None = None
    for left, right in pairwise(words):
        cut = round((left.end + right.start) / 2 * ROW_HZ)
        if earliest <= cut <= latest and (best is None or right.start - left.end >= best[0]):
            best = (right.start - left.end, cut)
    if best is not None:
        cut = best[1]
    else:
        pieces = -(-(high - low) // max_rows)
        even = (high - low) // pieces
        # If equal pieces would all be too short, cut one clip of maximum length instead.
        cut = low + (even if even >= min_rows else max_rows)
    return [(low, cut), *cut_between_words((cut, high), words, min_rows=min_rows, max_rows=max_rows)]
