"""A window of a film strip's frames as a JPEG of its own, without decoding anything.

A restart marker sets the predictors to zero and begins on a byte (ITU-T T.81, F.1.1.5.1), so the intervals
between markers can be taken out and put together; only the markers' numbers, which count modulo 8, and the
height in the frame header have to agree with what is left.
"""

from __future__ import annotations

import numpy as np

from mien.models.reading.fields.strip.header import JpegHeader

_EOI = b"\xff\xd9"
_CHUNK_BYTES = 1 << 17
_MARKERS = tuple(bytes((0xFF, 0xD0 + number)) for number in range(8))


class StripDamagedError(ValueError):
    """The restart markers are not those that the header announces."""


def cut_frames(jpeg: memoryview | bytes, header: JpegHeader, *, first: int, count: int) -> bytes:
    """Frames [first, first + count) as one JPEG. The header must allow it (`intervals_per_frame`).

    Raises StripDamagedError where the strip ends, or its markers lose count, before the window's end.
    """
    per_frame = header.intervals_per_frame()
    begin, end = first * per_frame, (first + count) * per_frame
    total = header.height_pixels // header.width_pixels * per_frame
    ends = _interval_ends(jpeg, header.scan_at, min(end, total - 1))
    starts = [header.scan_at, *(at + 2 for at in ends)]
    if end == total:  # the last interval ends with the picture
        ends.append(_scan_end(jpeg, starts[-1]))
    height = (count * header.width_pixels).to_bytes(2, "big")
    parts = [jpeg[: header.height_at], height, jpeg[header.height_at + 2 : starts[0]]]
    if (begin & 7) == 0:  # the numbers are right already
        parts.append(jpeg[starts[begin] : ends[end - 1]])
    else:
        for number in range(begin, end):
            parts.append(jpeg[starts[number] : ends[number]])
            parts.append(_MARKERS[(number - begin) & 7])
        parts.pop()
    parts.append(_EOI)
    return b"".join(parts)


def _interval_ends(jpeg: memoryview | bytes, scan_at: int, count: int) -> list[int]:
    """Offsets of the first `count` restart markers; what lies behind them is not looked at."""
    scan = np.frombuffer(jpeg, np.uint8)
    found: list[int] = []
    at = scan_at
    while len(found) < count and at < len(scan) - 1:
        stop = min(at + _CHUNK_BYTES, len(scan) - 1)
        marks = np.flatnonzero(scan[at:stop] == 0xFF) + at
        codes = scan[marks + 1]
        keep = (codes & 0xF8) == 0xD0
        marks, codes = marks[keep], codes[keep]
        wrong = np.flatnonzero((codes & 7) != (np.arange(len(found), len(found) + len(codes)) & 7))
        if len(wrong) and len(found) + wrong[0] < count:
            raise StripDamagedError(
                f"restart marker {len(found) + wrong[0]} has number {codes[wrong[0]] & 7}: "
                "an interval is lost or doubled"
            )
        found += marks.tolist()
        at = stop
    if len(found) < count:
        raise StripDamagedError(f"{len(found)} restart markers where {count} were to be: it is cut short")
    return found[:count]


def _scan_end(jpeg: memoryview | bytes, start: int) -> int:
    """Where the last interval, which begins at `start`, ends: at the next marker."""
    end = bytes(jpeg[start:]).find(_EOI)
    if end < 0:
        raise StripDamagedError("it has no end: it is cut short")
    return start + end
