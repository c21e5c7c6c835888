"""YouTube's search parameter `sp`, read as YouTube reads it: base64 of a protobuf message.

    1: sort (0 relevance, 2 upload date)    2: {1: uploaded within, 2: type, 3: duration, 6: Creative Commons}

A reading of its own, so that what mien writes is checked against something else than itself.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from datetime import date, timedelta

from tests.youtube.video import Video

_DAYS = {1: 1, 2: 1, 3: 7, 4: 31, 5: 366}


def matching(videos: list[Video], params: str, today: date) -> list[Video]:
    """Those of `videos` that the filters let through, in the order asked for."""
    message = _fields(base64.urlsafe_b64decode(params + "=" * (-len(params) % 4)))
    requested = _fields(message.get(2, b"")) if isinstance(message.get(2, b""), bytes) else {}
    found = [video for video in videos if _fits(video, requested, today)]
    if message.get(1) == 2:
        found.sort(key=lambda video: video.uploaded, reverse=True)
    return found


def _fits(video: Video, requested: dict[int, int | bytes], today: date) -> bool:
    within, length = requested.get(1), requested.get(3)
    if isinstance(within, int) and video.uploaded < today - timedelta(days=_DAYS[within]):
        return False
    if requested.get(6) == 1 and not video.creative_commons:
        return False
    seconds = video.duration_seconds
    return {1: seconds < 240, 2: seconds > 1200, 3: 240 <= seconds <= 1200, None: True}[
        length if isinstance(length, int) else None
    ]


def _fields(data: bytes | int) -> dict[int, int | bytes]:
    assert isinstance(data, bytes)
    found: dict[int, int | bytes] = {}
    stream = iter(data)
    for first in stream:
        tag = _varint(first, stream)
        value = _varint(next(stream), stream)
        if tag & 7 == 2:
            found[tag >> 3] = bytes(next(stream) for _ in range(value))
        else:
            assert tag & 7 == 0, f"wire type {tag & 7}"
            found[tag >> 3] = value
    return found


def _varint(first: int, stream: Iterator[int]) -> int:
    value, shift, byte = first & 127, 7, first
    while byte & 128:
        byte = next(stream)
        value |= (byte & 127) << shift
        shift += 7
    return value
