"""Shot boundary detection on thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from mien.pipelines.data import Float32
from mien.pipelines.faces.grid_frames import TimedFrame

THUMBNAIL_PIXELS = (48, 27)
FLASH_FRAMES = 3
MIN_CUT_DIFFERENCE = 0.42
"""Mean absolute difference of two thumbnails that can be a cut. Unrelated pictures differ by about 1.1."""
CUT_PROMINENCE = 2.0
"""A cut exceeds the differences around it by this factor. A pan or a shaking camera does not."""
_OVERSAMPLING = 3
_LUMA_FIRST = ("yuv4", "yuvj4", "nv12", "nv21", "gray")
"""Prefixes of pixel formats whose first plane is luma, in the low bits."""
_MIN_DEVIATION = 10.0
"""Standard deviation of the luma (8-bit) below which a thumbnail contains noise instead of a scene."""


def thumbnail(picture: Any) -> Float32:
    """(27, 48) luma of an av.VideoFrame, normalised for brightness and contrast: mean 0, deviation at most 1.

    A change of lighting, an unclipped flash or a fade therefore changes it little.
    """
    import cv2

    pixel_format = picture.format
    width, height = THUMBNAIL_PIXELS
    if not pixel_format.name.startswith(_LUMA_FIRST) or pixel_format.is_big_endian:
        picture = picture.reformat(width * _OVERSAMPLING, height * _OVERSAMPLING, format="gray8", threads=1)
    bits = picture.format.components[0].bits
    plane = picture.planes[0]
    luma = np.frombuffer(plane, np.uint16 if bits > 8 else np.uint8).reshape(plane.height, -1)
    # Nine sample points per thumbnail pixel are enough, so most of the frame is not read.
    points = luma[
        _evenly_spaced(plane.height, height * _OVERSAMPLING),
        _evenly_spaced(plane.width, width * _OVERSAMPLING),
    ]
    small = cv2.resize(np.ascontiguousarray(points), (width, height), interpolation=cv2.INTER_AREA)
    mean, deviation = cv2.meanStdDev(small)
    scale = 1.0 / max(float(deviation[0, 0]), _MIN_DEVIATION * 2.0 ** (bits - 8))
    return np.asarray((small - np.float32(mean[0, 0])) * np.float32(scale), np.float32)


def _evenly_spaced(length: int, count: int) -> slice:
    """`count` evenly spaced indices centred in `length`; all indices if there are fewer."""
    step, taken = max(1, length // count), min(count, length)
    first = (length - (taken - 1) * step) // 2
    return slice(first, first + (taken - 1) * step + 1, step)


def difference(first: Float32, second: Float32) -> float:
    """Mean absolute difference of two thumbnails."""
    import cv2

    return float(cv2.norm(first, second, cv2.NORM_L1)) / first.size


def mark_shot_starts(frames: Iterable[TimedFrame]) -> Iterator[tuple[TimedFrame, bool]]:
    """Each frame, with whether a new shot starts at it.

    A difference is a cut if it exceeds the differences around it, and if none of the next FLASH_FRAMES frames
    resembles the frame before it (otherwise it was a flash or a picture inserted for an instant).
    At most FLASH_FRAMES frames are held back, and only after a large difference.
    """
    held: list[tuple[TimedFrame, Float32]] = []  # the undecided frame, then the frames after it
    before: Float32 | None = None  # the last frame that certainly belongs to the current shot
    recent: list[float] = []  # recent differences within the shot

    def decide(last: Float32) -> Iterator[tuple[TimedFrame, bool]]:
        nonlocal before
        thumbs = [thumb for _, thumb in held]
        jump = difference(last, thumbs[0])
        returns = [number for number, thumb in enumerate(thumbs[1:], 1) if difference(last, thumb) < jump / 2]
        if returns:
            for frame, _ in held[: returns[0]]:
                yield frame, False
            del held[: returns[0]]
            return
        after = [difference(a, b) for a, b in pairwise(thumbs)]
        around = max(*(sum(steps) / len(steps) for steps in (recent[-3:], after) if steps), 0.0, 0.0)
        cut = jump > CUT_PROMINENCE * around
        yield held[0][0], cut
        recent[:] = [] if cut else [*recent[-2:], jump]
        before = thumbs[0]
        del held[0]

    def release(at_end: bool) -> Iterator[tuple[TimedFrame, bool]]:
        nonlocal before
        while held:
            frame, thumb = held[0]
            step = 0.0 if before is None else difference(before, thumb)
            if before is None or step < MIN_CUT_DIFFERENCE:
                if before is not None:
                    recent[:] = [*recent[-2:], step]
                before = thumb
                del held[0]
                yield frame, False
            elif at_end or len(held) > FLASH_FRAMES:
                yield from decide(before)
            else:
                return

    for frame in frames:
        held.append((frame, thumbnail(frame.picture)))
        yield from release(at_end=False)
    yield from release(at_end=True)
