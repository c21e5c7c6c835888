"""What the header of a JPEG says (ITU-T T.81, annex B), as far as cutting a strip asks."""

from __future__ import annotations

from dataclasses import dataclass

_SOI = b"\xff\xd8"
_DRI, _SOS, _DAC = 0xDD, 0xDA, 0xCC
_NO_PAYLOAD = frozenset({0x01, *range(0xD0, 0xD8)})
# Start of frame, less DHT, JPG and DAC, which lie among them.
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, _DAC}
_SEQUENTIAL = frozenset({0xC0, 0xC1})


class NotJpegError(ValueError):
    """The bytes are no JPEG, or end inside its header."""


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
    """MCUs between restart markers; 0 where there are none."""
    one_scan: bool
    """Sequential, and all components in the first scan: cutting the scan cuts the picture."""

    def intervals_per_frame(self) -> int:
        """Restart intervals in one square frame of a strip; 0 where frames cannot be cut out."""
        side = self.width_pixels
        if not self.one_scan or not self.interval_mcus or side % self.mcu_height_pixels:
            return 0
        mcus = -(-side // self.mcu_width_pixels) * (side // self.mcu_height_pixels)
        return 0 if mcus % self.interval_mcus else mcus // self.interval_mcus


def read_header(jpeg: memoryview | bytes) -> JpegHeader:
    """Walks the segments up to the scan; microseconds, whatever the picture's size.

    Raises NotJpegError.
    """
    if bytes(jpeg[:2]) != _SOI:
        raise NotJpegError(f"not a JPEG: it begins {bytes(jpeg[:4]).hex() or 'with nothing'}")
    at, interval, frame, height_at, code = 2, 0, b"", 0, 0
    while at + 4 <= len(jpeg) and jpeg[at] == 0xFF:
        code = jpeg[at + 1]
        if code == 0xFF or code in _NO_PAYLOAD:  # fill bytes; markers that stand alone
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
        raise NotJpegError(f"a JPEG whose header is damaged or cut short, of {len(jpeg)} bytes")
    sampling = [frame[8 + 3 * n] for n in range(components)]
    # A scan of one component has MCUs of one block, whatever its sampling factors (T.81, A.2.2).
    across, down = (
        (1, 1) if components == 1 else (max(s >> 4 for s in sampling), max(s & 15 for s in sampling))
    )
    width_pixels = frame[4] << 8 | frame[5]
    if not (width_pixels and across and down):
        raise NotJpegError(f"a JPEG whose header is damaged: {width_pixels} pixels wide, sampled {sampling}")
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
