"""Checks whether a file is complete, for containers whose framing says how long they are.

libav reports no error for a truncated file, so the sizes written in the file are compared with its real size:
ISO base media boxes (ISO/IEC 14496-12), EBML (RFC 8794), RIFF (Microsoft, OpenDML), MPEG-TS and MPEG-PS
(ISO/IEC 13818-1), Ogg pages (RFC 3533), and the Xing header of MP3.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable

_BOXES = frozenset(
    b"ftyp moov mdat moof mfra free skip wide uuid meta udta sidx ssix styp pnot pdin emsg prft".split()
)
_TAIL_BYTES = 1 << 18


def looks_like(descriptor: int) -> bool:
    """Whether the file starts like a known container."""
    return _checker(descriptor) is not None


def shortfall(descriptor: int) -> str | None:
    """Describes what is missing at the end of the file; None if nothing is known to be missing."""
    check = _checker(descriptor)
    return check(descriptor, os.fstat(descriptor).st_size) if check else None


def _checker(descriptor: int) -> Callable[[int, int], str | None] | None:
    head = os.pread(descriptor, 1024, 0)
    if head[4:8] in _BOXES:
        return _boxes
    if _packet_bytes(head):
        return _transport_stream
    is_mp3_frame = len(head) > 1 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2
    return next((check for magic, check in _MAGIC if head.startswith(magic)), _mp3 if is_mp3_frame else None)


def _unknown(descriptor: int, size: int) -> str | None:
    return None


def _short(what: str, end: int, size: int) -> str | None:
    return f"{what} ends at byte {end}, but the file at {size}" if end > size else None


def _boxes(descriptor: int, size: int) -> str | None:
    position = 0
    while size - position >= 8:
        header = os.pread(descriptor, 16, position)
        length, kind = struct.unpack(">I4s", header[:8])
        if kind not in _BOXES:
            return None  # something appended by another program
        if length == 1:
            if len(header) < 16:
                return f"the box {kind.decode()} is truncated in its header"
            length = struct.unpack(">Q", header[8:16])[0]
        if length == 0:
            return None  # to the end of the file
        if length < 8:
            return None
        if position + length > size:
            return _short(f"the box {kind.decode()}", position + length, size)
        position += length
    return None


def _ebml(descriptor: int, size: int) -> str | None:
    position = 4
    length, width = _ebml_size(os.pread(descriptor, 8, position))
    position += width + (length or 0)
    head = os.pread(descriptor, 12, position)
    if not head.startswith(b"\x18\x53\x80\x67"):
        return None
    length, width = _ebml_size(head[4:])
    if length is None:
        return None  # unknown size: a live recording
    return _short("the segment", position + 4 + width + length, size)


def _ebml_size(data: bytes) -> tuple[int | None, int]:
    """Value (None for "unknown") and width of a variable-size integer."""
    if not data or not data[0]:
        return None, 1
    width = 9 - data[0].bit_length()
    value = int.from_bytes(data[:width], "big") & ((1 << 7 * width) - 1)
    return (None if value == (1 << 7 * width) - 1 else value), width


def _riff(descriptor: int, size: int) -> str | None:
    position = 0
    while size - position >= 12:
        kind, length = struct.unpack("<4sI", os.pread(descriptor, 8, position))
        if kind == b"RF64" or length in (0, 0xFFFFFFFF) or kind != b"RIFF":
            return None
        end = position + 8 + length
        if end > size:
            return _short("the RIFF chunk", end, size)
        position = end + (end & 1)
    return None


def _tail(descriptor: int, size: int) -> tuple[int, bytes]:
    start = max(0, size - _TAIL_BYTES)
    return start, os.pread(descriptor, size - start, start)


def _ogg(descriptor: int, size: int) -> str | None:
    start, tail = _tail(descriptor, size)
    at = tail.rfind(b"OggS\x00")
    if at < 0:
        return None
    page = tail[at:]
    if len(page) < 27 or len(page) < 27 + page[26]:
        return "the last page is truncated in its header"
    length = 27 + page[26] + sum(page[27 : 27 + page[26]])
    return _short("the last page", start + at + length, size)


def _packet_bytes(head: bytes) -> int:
    """The packet size (188, 192 or 204) if `head` is a transport stream, else 0."""
    for length, first in ((188, 0), (192, 4), (204, 0)):
        marks = head[first::length]
        if len(marks) >= 3 and all(mark == 0x47 for mark in marks):
            return length
    return 0


def _transport_stream(descriptor: int, size: int) -> str | None:
    length = _packet_bytes(os.pread(descriptor, 1024, 0))
    left = size % length
    return f"only {left} of the last packet's {length} bytes are there" if left else None


def _program_stream(descriptor: int, size: int) -> str | None:
    """Follows the packet lengths from the last pack header to the end."""
    start, tail = _tail(descriptor, size)
    packs = [match.start() for match in re.finditer(rb"\x00\x00\x01\xba", tail)]
    if not packs:
        return None
    at = packs[-1]
    # 14 bytes and stuffing in MPEG-2, 12 in MPEG-1
    if len(tail) < at + 14:
        return "the last pack is truncated in its header"
    at += 14 + (tail[at + 13] & 7) if tail[at + 4] >> 6 == 1 else 12
    while len(tail) - at >= 6 and tail[at : at + 3] == b"\x00\x00\x01" and tail[at + 3] >= 0xBB:
        end = at + 6 + int.from_bytes(tail[at + 4 : at + 6], "big")
        if end > len(tail):
            return _short("the last packet", start + end, size)
        at = end
    return None


def _mp3(descriptor: int, size: int) -> str | None:
    start = 0
    head = os.pread(descriptor, 10, 0)
    if head.startswith(b"ID3") and len(head) == 10:
        start = 10 + sum((byte & 0x7F) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0), strict=True))
        if start > size:
            return _short("the ID3 tag", start, size)
    frame = os.pread(descriptor, 512, start)
    at = max(frame.find(b"Xing"), frame.find(b"Info"))
    if at < 0 or len(frame) < at + 16:
        return None
    flags, _, length = struct.unpack(">III", frame[at + 4 : at + 16])
    # the field counts from the first frame and excludes a tag at the end
    return _short("the sound", start + length, size) if flags & 3 == 3 else None


_MAGIC: tuple[tuple[bytes, Callable[[int, int], str | None]], ...] = (
    (b"\x1a\x45\xdf\xa3", _ebml),
    (b"RIFF", _riff),
    (b"RF64", _riff),
    (b"OggS", _ogg),
    (b"\x00\x00\x01\xba", _program_stream),
    (b"ID3", _mp3),
    # these declare their duration, which is checked elsewhere
    (b"fLaC", _unknown),
    (b"FLV\x01", _unknown),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", _unknown),
)
