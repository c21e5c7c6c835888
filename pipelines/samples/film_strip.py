"""The film strip: JPEG crops joined losslessly into one tall JPEG, from which readers cut windows.

Each crop is a baseline JPEG. Its scan starts with all predictors at zero and ends on a byte boundary. A
restart marker does the same inside a scan (ITU-T T.81, section F.1.1.5.1). The scans of many crops with
restart markers between them therefore form one valid scan. No pixel is decoded or encoded again. One restart
interval is one frame of 8 x 8 MCUs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from mien.ingest.errors import CorruptMediaError
from mien.pipelines.data import CROP_PIXELS

MAX_FRAMES = 65_535 // CROP_PIXELS
MCUS_PER_FRAME = (CROP_PIXELS // 16) ** 2

_GREY_MCU = bytes.fromhex("28a28a00")
"""Six blocks without coefficients in the standard Huffman tables: 4 x (00 1010) for Y, 2 x (00 00) for
chroma."""
_GREY_SCAN = _GREY_MCU * MCUS_PER_FRAME
_DRI = b"\xff\xdd\x00\x04" + MCUS_PER_FRAME.to_bytes(2, "big")
_SOF0, _DHT, _DRI_CODE, _SOS, _EOI = 0xC0, 0xC4, 0xDD, 0xDA, b"\xff\xd9"


@dataclass(frozen=True, slots=True)
class _Parsed:
    header: bytes
    """From SOI through SOS, without DRI."""
    height_at: int
    """Offset of the frame's height in `header`."""
    scan: bytes

    @property
    def height(self) -> int:
        return int.from_bytes(self.header[self.height_at : self.height_at + 2], "big")


def assemble_strip(crops: Sequence[bytes]) -> bytes:
    """One JPEG of len(crops) frames, stacked from top to bottom. b"" becomes a mid-grey frame.

    Raises CorruptMediaError if a crop is not such a JPEG or was encoded with other tables than the first.
    """
    if not 1 <= len(crops) <= MAX_FRAMES:
        raise CorruptMediaError(
            f"a film strip has 1 to {MAX_FRAMES} frames, got {len(crops)}; shorten the clip"
        )
    first = _parse(next((crop for crop in crops if crop), None) or _grey_crop())
    scans = []
    for number, crop in enumerate(crops):
        parsed = _parse(crop) if crop else None
        if parsed is not None and parsed.header != first.header:
            raise CorruptMediaError(
                f"crop {number} has another JPEG header than the first one; encode all at the same quality"
            )
        scans.append(_GREY_SCAN if parsed is None else parsed.scan)
    return _join(first, scans)


def strip_frames(strip: bytes) -> int:
    """The number of frames, from the height in the header."""
    return _parse(strip).height // CROP_PIXELS


def _join(parsed: _Parsed, scans: Sequence[bytes]) -> bytes:
    header, at = parsed.header, parsed.height_at
    height = (len(scans) * CROP_PIXELS).to_bytes(2, "big")
    sos = header.rindex(b"\xff\xda")
    parts = [header[:at], height, header[at + 2 : sos], _DRI, header[sos:], scans[0]]
    for number, scan in enumerate(scans[1:]):
        parts += (bytes((0xFF, 0xD0 + number % 8)), scan)
    parts.append(_EOI)
    return b"".join(parts)


def _parse(jpeg: bytes) -> _Parsed:
    """Splits a baseline 4:2:0 JPEG of width CROP_PIXELS into header and scan."""
    at, height_at, header = 2, -1, jpeg[:2]
    while header[:2] == b"\xff\xd8" and at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        code, size = jpeg[at + 1], int.from_bytes(jpeg[at + 2 : at + 4], "big")
        part = jpeg[at : at + 2 + size]
        if code == _SOF0 and _has_crop_format(part[7:]):
            height_at = len(header) + 5
        if code != _DRI_CODE:
            header += part
        at += len(part)
        if code == _SOS:
            if height_at > 0 and jpeg.endswith(_EOI):
                return _Parsed(header, height_at, jpeg[at:-2])
            break
    raise CorruptMediaError(
        f"not a complete baseline 4:2:0 JPEG {CROP_PIXELS} pixels wide, got {len(jpeg)} bytes that start "
        f"with {jpeg[:4].hex() or 'nothing'}; encode the crop again"
    )


def _has_crop_format(frame: bytes) -> bool:
    """Whether the frame header has the crop width, three components and 4:2:0."""
    return frame[:2] == CROP_PIXELS.to_bytes(2, "big") and frame[2] == 3 and frame[4::3] == b"\x22\x11\x11"


@lru_cache(maxsize=1)
def _grey_crop() -> bytes:
    import numpy as np

    from mien.pipelines.faces.crop import QUALITY, encode

    grey = np.full((CROP_PIXELS, CROP_PIXELS), 128, np.uint8)
    return encode((grey, grey[::2, ::2].copy(), grey[::2, ::2].copy()), QUALITY)
