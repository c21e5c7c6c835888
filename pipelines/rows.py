"""Masks over the 25 Hz rows of a segment."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise

import numpy as np

from mien.pipelines.data import ROW_HZ, Bool, FaceTrack, Segment, Span


def segment_rows(segment: Segment) -> tuple[int, int]:
    """First row and number of rows. A last row that the segment's end cuts short counts."""
    first = round(segment.start * ROW_HZ)
    return first, max(0, int(np.ceil(segment.end * ROW_HZ - 1e-6)) - first)


def row_seconds(segment: Segment) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(T,) the seconds of each row; they add up to the segment's length."""
    first, count = segment_rows(segment)
    edges = np.minimum((first + np.arange(count + 1)) / ROW_HZ, segment.end)
    edges[0:1] = segment.start
    return np.diff(edges)


def spans_to_rows(spans: Iterable[Span], first: int, count: int) -> Bool:
    """(count,) True for the rows inside a span. The edges of spans are rounded to the edges of rows.

    Rounding keeps nested spans nested: a word that begins where its speech begins stays inside it.
    """
    mask = np.zeros(count, bool)
    for start, end in spans:
        mask[max(0, nearest_row(start) - first) : max(0, nearest_row(end) - first)] = True
    return mask


def nearest_row(seconds: float) -> int:
    """The nearest edge between rows. The edges of words are not known more precisely."""
    return int(np.floor(seconds * ROW_HZ + 0.5))


def runs(mask: Bool) -> list[tuple[int, int]]:
    """Half-open [first, last) runs of True, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[0::2], edges[1::2], strict=True)]


def bridge(mask: Bool, rows: int) -> Bool:
    """`mask` with the gaps between runs filled if they are at most `rows` long. The ends are unchanged."""
    out = mask.copy()
    found = runs(mask)
    for (_, end), (start, _) in pairwise(found):
        if start - end <= rows:
            out[end:start] = True
    return out


def on_segment(face: FaceTrack, first: int, count: int) -> slice:
    """The face's rows as a slice of the segment's rows."""
    offset = face.first_row - first
    if offset < 0 or offset + face.visible.size > count:
        raise ValueError(f"face track {face.index} leaves its segment: got {offset = }, {count = }")
    return slice(offset, offset + face.visible.size)
