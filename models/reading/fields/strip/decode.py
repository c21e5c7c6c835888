"""JPEGs decoded straight into given memory, and no more of them than is asked for."""

from __future__ import annotations

from mien.models.reading.fields.strip.cut import StripDamagedError, cut_frames
from mien.models.reading.fields.strip.header import JpegHeader
from mien.pipelines.data import UInt8


def sizes_of(header: JpegHeader) -> tuple[int, ...]:
    """Whole pixels that a frame can be decoded to: libjpeg-turbo shrinks by eighths in its inverse DCT."""
    side = header.width_pixels
    return (side,) if side % 8 else tuple(side * eighths // 8 for eighths in range(1, 9))


def decode_frames(jpeg: memoryview | bytes, header: JpegHeader, out: UInt8, *, first: int) -> None:
    """Frames [first, first + len(out)) of the strip into `out` (count, size, size, 3 or 1), contiguous.

    `size` is one of `sizes_of(header)`. One channel is luma; the colour is then not decoded at all.

    Raises StripDamagedError.
    """
    count, size = out.shape[:2]
    whole = header.height_pixels // header.width_pixels
    if first == 0 and count == whole:
        _decode(jpeg, out)
    elif header.intervals_per_frame():
        _decode(cut_frames(jpeg, header, first=first, count=count), out)
    else:  # no restart markers: decoded whole, cut afterwards
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
        raise StripDamagedError(f"it decodes to {got.shape}, not to {(count * size, size, channels)}")
