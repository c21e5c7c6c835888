"""Which frame stands for which row of the 25 Hz grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol

from mien.pipelines.data import ROW_HZ, Span


class Timed(Protocol):
    """What pipelines/decode/frames.py yields."""

    @property
    def seconds(self) -> float: ...
    @property
    def picture(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A frame that stands for at least one row. A slow film's frame stands for several."""

    seconds: float
    """Presentation time on the file's clock."""
    picture: Any
    """av.VideoFrame as stored."""
    rows: range


def rows_of(span: Span) -> range:
    """Grid rows k with start <= k / ROW_HZ < end."""
    return range(math.ceil(span[0] * ROW_HZ - 1e-6), math.ceil(span[1] * ROW_HZ - 1e-6))


def shown_frames(frames: Iterable[Timed], rows: range, max_offset_seconds: float) -> Iterator[TimedFrame]:
    """For each of `rows` the frame nearest in time (the earlier one in a tie), if within the tolerance.

    The first frame stands for what is before it, and the last for what is after it, no further than half a
    row or half the way to its neighbour: where a film begins or ends, nothing is to be seen beyond. Rows
    without a frame are left out. `frames` come in order of time; one that does not is passed over, since a
    clock that runs backward would put two frames on one row.
    """
    row, held = rows.start, None
    tolerance = max_offset_seconds + 1e-6
    early, gap = None, math.inf
    for frame in frames:
        if held is not None:
            if frame.seconds <= held.seconds:
                continue
            gap = frame.seconds - held.seconds
            early = _edge(gap, tolerance) if early is None else tolerance
            middle = held.seconds + gap / 2 + 1e-6
            row, shown = _serve(held, row, rows.stop, middle, (early, tolerance))
            if shown is not None:
                yield shown
            if row >= rows.stop:
                return
        held = frame
    if held is not None:
        late = _edge(gap, tolerance)
        _, shown = _serve(held, row, rows.stop, math.inf, (late if early is None else tolerance, late))
        if shown is not None:
            yield shown


def _edge(gap: float, tolerance: float) -> float:
    """How far a frame reaches to the side on which it has no neighbour; `gap`: to the one that it has."""
    return min(tolerance, max(0.5 / ROW_HZ, gap / 2) + 1e-6)


def _serve(
    frame: Timed, row: int, stop: int, until: float, reach: tuple[float, float]
) -> tuple[int, TimedFrame | None]:
    """The first row past `until`, and `frame` with the rows from `row` on that it stands for; `reach`: how
    many seconds before it, and after it."""
    first = max(row, math.ceil((frame.seconds - reach[0]) * ROW_HZ))
    last = min(stop - 1, math.floor(min(until, frame.seconds + reach[1]) * ROW_HZ))
    after = stop if until == math.inf else max(row, min(stop, math.floor(until * ROW_HZ) + 1))
    if last < first:
        return after, None
    return after, TimedFrame(frame.seconds, frame.picture, range(first, last + 1))


def merge_spans(spans: Iterable[Span], pad_seconds: float, limit: Span) -> list[Span]:
    """Spans widened by `pad_seconds`, clipped to `limit`, and joined where they touch."""
    merged: list[Span] = []
    for start, end in sorted(spans):
        low, high = max(limit[0], start - pad_seconds), min(limit[1], end + pad_seconds)
        if high <= low:
            continue
        if merged and low <= merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], high))
        else:
            merged.append((low, high))
    return merged
