"""Decodes JPEG film strips: reads the header, cuts out a window of frames, and decodes into given memory.

A restart marker resets the predictors and is byte-aligned (ITU-T T.81, F.1.1.5.1), so the intervals between
markers can be cut out and joined without decoding. Only the numbers of the markers, which count modulo 8, and
the height in the frame header must be adjusted.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mien.pipelines.data import UInt8

_SOI = b"\xff\xd8"
_DRI, _SOS, _DAC = 0xDD, 0xDA, 0xCC
_NO_PAYLOAD = frozenset({0x01, *range(0xD0, 0xD8)})
# Start-of-frame markers without DHT, JPG and DAC, whose codes are in the same range.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, _DAC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})


class NotJpegError(ValueError):
    """The bytes are not a JPEG, or end inside its header."""


@dataclass(frozen=True, slots=True)
class JpegHeader:
    width_pixels: int
    height_pixels: int
    height_at: int
    """Offset of the 2 bytes of the frame's height."""
    scan_at: int
    """Offset of the first entropy-coded byte."""
    mcu_width_pixels: int
    mcu_height_pixels: int
    interval_mcus: int
    """MCUs between restart markers; 0 without restart markers."""
    one_scan: bool
    """Sequential, with all components in the first scan, so cutting the scan cuts the picture."""

    def intervals_per_frame(self) -> int:
        """Restart intervals in one square frame of a strip; 0 if frames cannot be cut out."""
        side = self.width_pixels
        if not self.one_scan or not self.interval_mcus or side % self.mcu_height_pixels:
            return 0
        mcus = -(-side // self.mcu_width_pixels) * (side // self.mcu_height_pixels)
        return 0 if mcus % self.interval_mcus else mcus // self.interval_mcus


def read_header(jpeg: memoryview | bytes) -> JpegHeader:
    """Walks the segments up to the scan. It takes microseconds, independent of the picture's size.

    Raises NotJpegError.
    """
    if bytes(jpeg[:2]) != _SOI:
        raise NotJpegError(f"not a JPEG: it begins with {bytes(jpeg[:4]).hex() or 'nothing'}")
    at, interval, frame, height_at, code = 2, 0, b"", 0, 0
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        code = jpeg[at + 1]
        if code == 0xFF or code in _NO_PAYLOAD:  # fill bytes, or a marker without payload
            at += 1 if code == 0xFF else 2
            continue
        size = jpeg[at + 2] << 8 | jpeg[at + 3]
        if code == _DRI:
            interval = jpeg[at + 4] << 8 | jpeg[at + 5]
        elif code in _FRAMES:
            frame, height_at = bytes((code, *jpeg[at + 4 : at + 2 + size])), at + 5
        elif code == _SOS:
            break
        at += 2 + size
    components = frame[6] if len(frame) > 6 else 0
    if code != _SOS or not components or len(frame) < 7 + 3 * components or at + 5 > len(jpeg):
        raise NotJpegError(f"a JPEG of {len(jpeg)} bytes with a damaged or truncated header")
    sampling = [frame[8 + 3 * n] for n in range(components)]
    # A scan of one component has MCUs of one block, independent of its sampling factors (T.81, A.2.2).
    across, down = (
        (1, 1) if components == 1 else (max(s >> 4 for s in sampling), max(s & 15 for s in sampling))
    )
    width_pixels = frame[4] << 8 | frame[5]
    if not (width_pixels and across and down):
        raise NotJpegError(f"a JPEG with a damaged header: {width_pixels} pixels wide, sampling {sampling}")
    return JpegHeader(
        width_pixels=width_pixels,
        height_pixels=frame[2] << 8 | frame[3],
        height_at=height_at,
        scan_at=at + 2 + size,
        mcu_width_pixels=8 * across,
        mcu_height_pixels=8 * down,
        interval_mcus=interval,
        one_scan=frame[0] in _SEQUENTIAL and jpeg[at + 4] == components,
    )


_EOI = b"\xff\xd9"
_CHUNK_BYTES = 1 << 17
_MARKERS = tuple(bytes((0xFF, 0xD0 + number)) for number in range(8))


class StripDamagedError(ValueError):
    """The restart markers do not match the header."""


def cut_frames(jpeg: memoryview | bytes, header: JpegHeader, *, first: int, count: int) -> bytes:
    """Frames [first, first + count) as one JPEG. The header must allow it (`intervals_per_frame`).

    Raises StripDamagedError if the strip ends, or a marker is missing, before the window's end.
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
    if (begin & 7) == 0:  # the markers already have the right numbers
        parts.append(jpeg[starts[begin] : ends[end - 1]])
    else:
        for number in range(begin, end):
            parts.append(jpeg[starts[number] : ends[number]])
            parts.append(_MARKERS[(number - begin) & 7])
        parts.pop()
    parts.append(_EOI)
    return b"".join(parts)


def _interval_ends(jpeg: memoryview | bytes, scan_at: int, count: int) -> list[int]:
    """Offsets of the first `count` restart markers. Later bytes are not read."""
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
                "an interval is missing or repeated"
            )
        found += marks.tolist()
        at = stop
    if len(found) < count:
        raise StripDamagedError(f"{len(found)} restart markers instead of {count}: it is truncated")
    return found[:count]


def _scan_end(jpeg: memoryview | bytes, start: int) -> int:
    """Where the last interval, which begins at `start`, ends: at the next marker."""
    end = bytes(jpeg[start:]).find(_EOI)
    if end < 0:
        raise StripDamagedError("it has no end: it is truncated")
    return start + end


def sizes_of(header: JpegHeader) -> tuple[int, ...]:
    """Sizes in pixels that a frame can be decoded to: libjpeg-turbo shrinks by eighths in its inverse DCT."""
    side = header.width_pixels
    return (side,) if side % 8 else tuple(side * eighths // 8 for eighths in range(1, 9))


def decode_frames(jpeg: memoryview | bytes, header: JpegHeader, out: UInt8, *, first: int) -> None:
    """Frames [first, first + len(out)) of the strip into `out` (count, size, size, 3 or 1), contiguous.

    `size` is one of `sizes_of(header)`. With one channel only luma is decoded.

    Raises StripDamagedError.
    """
    count, size = out.shape[:2]
    whole = header.height_pixels // header.width_pixels
    if first == 0 and count == whole:
        _decode(jpeg, out)
    elif header.intervals_per_frame():
        _decode(cut_frames(jpeg, header, first=first, count=count), out)
    else:  # no restart markers: decode the whole strip, then cut
        import numpy as np

        every = np.empty((whole, size, size, out.shape[3]), np.uint8)
        _decode(jpeg, every)
        out[:] = every[first : first + count]


def _decode(jpeg: memoryview | bytes, out: UInt8) -> None:
    import simplejpeg

    count, size, _, channels = out.shape
    try:
        got = simplejpeg.decode_jpeg(
            jpeg,
            "RGB" if channels == 3 else "GRAY",
            min_height=count * size,
            min_width=size,
            buffer=out,
            strict=True,
        )
    except ValueError as error:
        raise StripDamagedError(str(error)) from error
    if got.shape != (count * size, size, channels):
        raise StripDamagedError(f"it decodes to {got.shape} instead of {(count * size, size, channels)}")
