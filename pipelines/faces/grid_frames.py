"""The frames of a video, sampled at the rows of the 25 Hz grid."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from mien.ingest.media import MediaFile
from mien.pipelines.data import ROW_HZ, Span

if TYPE_CHECKING:
    from mien.pipelines.decode.frames import FrameReader

_BUFFER_BYTES = 256 << 20


class DecodedFrame(Protocol):
    """What pipelines/decode/frames.py yields."""

    @property
    def seconds(self) -> float: ...
    @property
    def picture(self) -> Any: ...


@dataclass(frozen=True, slots=True)
class TimedFrame:
    """A frame with the grid rows that it represents: at least one, several at low frame rates."""

    seconds: float
    """Presentation time on the file's clock."""
    picture: Any
    """av.VideoFrame as stored."""
    rows: range


def rows_in(span: Span) -> range:
    """Grid rows k with start <= k / ROW_HZ < end."""
    return range(math.ceil(span[0] * ROW_HZ - 1e-6), math.ceil(span[1] * ROW_HZ - 1e-6))


def merge_spans(spans: Iterable[Span], pad_seconds: float, limit: Span) -> list[Span]:
    """Spans extended by `pad_seconds` on both sides, clipped to `limit`, and merged where they touch."""
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


def sample_rows(
    frames: Iterable[DecodedFrame], rows: range, max_offset_seconds: float
) -> Iterator[TimedFrame]:
    """For each of `rows` the frame nearest in time, if within the tolerance; ties go to the earlier one.

    Rows without a frame are left out. The first frame also represents rows before it, and the last frame rows
    after it, but only up to half a row or half the distance to its neighbour: before a video begins and after
    it ends there is nothing to see. `frames` must be in order of time. A frame with an earlier time than its
    predecessor is skipped, because it would put two frames on one row.
    """
    row, held = rows.start, None
    tolerance = max_offset_seconds + 1e-6
    early, gap = None, math.inf
    for frame in frames:
        if held is not None:
            if frame.seconds <= held.seconds:
                continue
            gap = frame.seconds - held.seconds
            early = _edge_reach(gap, tolerance) if early is None else tolerance
            middle = held.seconds + gap / 2 + 1e-6
            row, timed = _assign_rows(held, row, rows.stop, middle, (early, tolerance))
            if timed is not None:
                yield timed
            if row >= rows.stop:
                return
        held = frame
    if held is not None:
        late = _edge_reach(gap, tolerance)
        reach = (late if early is None else tolerance, late)
        _, timed = _assign_rows(held, row, rows.stop, math.inf, reach)
        if timed is not None:
            yield timed


def _edge_reach(gap: float, tolerance: float) -> float:
    """Seconds that a frame covers on the side without a neighbour; `gap` is the distance to the other one."""
    return min(tolerance, max(0.5 / ROW_HZ, gap / 2) + 1e-6)


def _assign_rows(
    frame: DecodedFrame, row: int, stop: int, until: float, reach: tuple[float, float]
) -> tuple[int, TimedFrame | None]:
    """The first row after `until`, and `frame` with its rows from `row` on.

    `reach`: seconds that the frame covers before and after its own time.
    """
    first = max(row, math.ceil((frame.seconds - reach[0]) * ROW_HZ))
    last = min(stop - 1, math.floor(min(until, frame.seconds + reach[1]) * ROW_HZ))
    after = stop if until == math.inf else max(row, min(stop, math.floor(until * ROW_HZ) + 1))
    if last < first:
        return after, None
    return after, TimedFrame(frame.seconds, frame.picture, range(first, last + 1))


class BufferedFrameReader:
    """Reads the frames of one video in spans that touch, and decodes frames that two spans share only once.

    The frame nearest to a span's first row can be earlier than that row, so consecutive spans share some
    frames. Seeking back would decode everything from the preceding key frame, so the last frames of a span
    are buffered for the next one.
    """

    def __init__(self, media: MediaFile, *, threads: int) -> None:
        from mien.pipelines.decode.frames import FrameReader

        self._media = media
        self._reader: FrameReader = FrameReader(media, threads=threads)
        self._buffer: list[DecodedFrame] = []
        self._buffered_from, self._read_to = math.inf, -math.inf

    def is_of(self, media: MediaFile) -> bool:
        """Whether `media` is the same file. An open file stays readable even if it was removed and fetched
        again in the meantime."""
        return (self._media.path, self._media.sha256) == (media.path, media.sha256)

    def frames(self, start: float, end: float, *, buffer_from: float) -> Iterator[DecodedFrame]:
        """Frames with start <= seconds < end. Those from `buffer_from` on are buffered for the next call."""
        continues = self._buffered_from <= start <= self._read_to < end
        old, resume = (self._buffer, self._read_to) if continues else ([], start)
        self._buffer, self._buffered_from, self._read_to = [], buffer_from, -math.inf
        buffered_bytes = 0
        for source in (old, self._reader.frames(resume, end)):
            for frame in source:
                if frame.seconds < start:
                    continue
                if frame.seconds >= buffer_from:
                    buffered_bytes += sum(plane.buffer_size for plane in frame.picture.planes)
                    self._buffer.append(frame)
                    if buffered_bytes > _BUFFER_BYTES:
                        self._buffer, self._buffered_from = [], math.inf
                self._read_to = max(resume, math.nextafter(frame.seconds, math.inf))
                yield frame
        self._read_to = end

    def close(self) -> None:
        self._buffer = []
        self._reader.close()
