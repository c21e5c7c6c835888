"""Masks over the 25 Hz rows of a segment: who is visible, who speaks, where words are."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import numpy as np

from mien.pipelines.annotators.speaking import speaking_score
from mien.pipelines.data import ROW_HZ, Bool, FaceTrack, Float32, Segment, Span


def segment_rows(segment: Segment) -> tuple[int, int]:
    """First row and row count; a last row that the segment's end cuts short is counted."""
    first = round(segment.start * ROW_HZ)
    return first, max(0, int(np.ceil(segment.end * ROW_HZ - 1e-6)) - first)


def row_seconds(segment: Segment) -> np.ndarray[tuple[int], np.dtype[np.float64]]:
    """(T,) seconds that each row stands for; they add up to the segment's length."""
    first, count = segment_rows(segment)
    edges = np.minimum((first + np.arange(count + 1)) / ROW_HZ, segment.end)
    edges[0:1] = segment.start
    return np.diff(edges)


def spans_to_rows(spans: Iterable[Span], first: int, count: int) -> Bool:
    """(count,) True for the rows inside a span, whose edges count as the nearest edges between rows.

    A span inside another one is so inside it in rows as well: a word that begins where its speech begins is
    not thought to be cut by it.
    """
    mask = np.zeros(count, bool)
    for start, end in spans:
        mask[max(0, nearest_row(start) - first) : max(0, nearest_row(end) - first)] = True
    return mask


def nearest_row(seconds: float) -> int:
    """The nearest edge between rows: a word's edge is known no better than that."""
    return int(np.floor(seconds * ROW_HZ + 0.5))


def runs(mask: Bool) -> list[tuple[int, int]]:
    """Half-open runs of True, in order."""
    edges = np.flatnonzero(np.diff(np.concatenate([[0], mask.astype(np.int8), [0]])))
    return [(int(a), int(b)) for a, b in zip(edges[0::2], edges[1::2], strict=True)]


def bridge(mask: Bool, rows: int) -> Bool:
    """`mask` with every gap between two runs of at most `rows` rows filled; the ends are left alone."""
    out = mask.copy()
    found = runs(mask)
    for (_, end), (start, _) in pairwise(found):
        if start - end <= rows:
            out[end:start] = True
    return out


def on_segment(track: FaceTrack, first: int, count: int) -> slice:
    """Where the track's rows lie among the segment's."""
    offset = track.first_row - first
    if offset < 0 or offset + track.visible.size > count:
        raise ValueError(f"track {track.index} leaves its segment: got {offset = }, {count = }")
    return slice(offset, offset + track.visible.size)


def shot_rows(
    tracks: Sequence[FaceTrack], first: int, count: int, *, bridge_rows: int
) -> tuple[list[int], Bool]:
    """Whose face (K,) and where it is in the picture (K, count), shot by shot, short gaps filled.

    A person who is seen before and after a cut has a row for each shot, so that no clip spans the cut.
    """
    whose: list[int] = []
    masks: list[Bool] = []
    for number, track in enumerate(tracks):
        where = on_segment(track, first, count)
        for shot in np.unique(track.shots[track.visible]):
            mask = np.zeros(count, bool)
            mask[where] = track.visible & (track.shots == shot)
            whose.append(number)
            masks.append(bridge(mask, bridge_rows))
    return whose, np.stack(masks) if masks else np.zeros((0, count), bool)


def speaking_rows(
    tracks: Sequence[FaceTrack], speech: Bool, first: int, *, threshold: float, dominance: float
) -> tuple[Bool, Float32]:
    """(K, count) mask and score of who speaks, where somebody speaks.

    A face speaks where its mouth moves by `threshold` at least and by `dominance` times the liveliest mouth
    in the picture at least, so that of two faces the listener is left out. Rows without a measure are False.
    """
    scores = np.full((len(tracks), speech.size), np.nan, np.float32)
    for number, track in enumerate(tracks):
        where = on_segment(track, first, speech.size)
        scores[number, where] = speaking_score(track.motion, speech[where])
    known = np.nan_to_num(scores, nan=-np.inf)
    liveliest = known.max(axis=0, initial=-np.inf)
    mask = (known >= threshold) & (known >= dominance * liveliest)
    return mask, scores
