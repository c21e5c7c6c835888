"""Cutting a stretch in which all that is required holds into clips of allowed length, between words."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from mien.pipelines.data import ROW_HZ, Word
from mien.pipelines.rows import nearest_row

Run = tuple[int, int]
"""Half-open [first, last) in rows of the file's 25 Hz grid."""


def trim_to_words(run: Run, words: Sequence[Word], *, lead_rows: int) -> Run | None:
    """The part of `run` that its whole words fill, with up to `lead_rows` of quiet on each side.

    A word that the run's edge would cut is left out, and the clip then begins after (ends before) it.
    None where no whole word is inside.
    """
    low, high = run
    inside = [w for w in words if nearest_row(w.start) >= low and nearest_row(w.end) <= high]
    if not inside:
        return None
    first, last = inside[0], inside[-1]
    before = max((w.end for w in words if w.end <= first.start), default=-np.inf)
    after = min((w.start for w in words if w.start >= last.end), default=np.inf)
    # The pause between this clip and a word outside it is shared half and half.
    quiet_from = low if before == -np.inf else nearest_row((before + first.start) / 2)
    quiet_to = high if after == np.inf else nearest_row((after + last.end) / 2)
    start = max(low, nearest_row(first.start) - lead_rows, quiet_from)
    end = min(high, nearest_row(last.end) + lead_rows, quiet_to)
    return (start, end) if end > start else None


def cut_between_words(run: Run, words: Sequence[Word], *, min_rows: int, max_rows: int) -> list[Run]:
    """`run` in touching pieces of at most `max_rows`, cut in the widest pauses between its words.

    Where there is no word boundary to cut at (no words, or one longer than a clip) the pieces are even.
    Pieces shorter than `min_rows` come out only where the run itself, or its words, leave no choice.
    """
    low, high = run
    if high - low <= max_rows:
        return [run]
    # A cut must leave room for a clip on both sides, and use most of what a clip may hold.
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
        # Where even pieces would all be too short, one whole clip is better than none.
        cut = low + (even if even >= min_rows else max_rows)
    return [(low, cut), *cut_between_words((cut, high), words, min_rows=min_rows, max_rows=max_rows)]
