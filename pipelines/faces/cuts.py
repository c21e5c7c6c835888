"""Shot cuts, told from thumbnails."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from mien.pipelines.data import Float32
from mien.pipelines.faces.rows import TimedFrame

THUMBNAIL_PIXELS = (48, 27)
FLASH_FRAMES = 3
_OVERSAMPLING = 3


def thumbnail(picture: Any) -> Float32:
    """(27, 48) luma of an av.VideoFrame without its brightness and contrast: mean 0, deviation at most 1.

    A lamp, a flash that does not clip, or a fade thus changes it little.
    """
    import cv2

    kind = picture.format
    width, height = THUMBNAIL_PIXELS
    if not kind.name.startswith(_LUMA_FIRST) or kind.is_big_endian:
        picture = picture.reformat(width * _OVERSAMPLING, height * _OVERSAMPLING, format="gray8", threads=1)
    bits = picture.format.components[0].bits
    plane = picture.planes[0]
    luma = np.frombuffer(plane, np.uint16 if bits > 8 else np.uint8).reshape(plane.height, -1)
    # Points are enough: nine of them make a pixel, and the picture is not read as a whole.
    points = luma[_every(plane.height, height * _OVERSAMPLING), _every(plane.width, width * _OVERSAMPLING)]
    small = cv2.resize(np.ascontiguousarray(points), (width, height), interpolation=cv2.INTER_AREA)
    mean, deviation = cv2.meanStdDev(small)
    scale = 1.0 / max(float(deviation[0, 0]), _FLAT * 2.0 ** (bits - 8))
    return np.asarray((small - np.float32(mean[0, 0])) * np.float32(scale), np.float32)


def _every(length: int, count: int) -> slice:
    """`count` evenly spaced lines about the middle; all of them where there are fewer."""
    step, taken = max(1, length // count), min(count, length)
    first = (length - (taken - 1) * step) // 2
    return slice(first, first + (taken - 1) * step + 1, step)


_LUMA_FIRST = ("yuv4", "yuvj4", "nv12", "nv21", "gray")
"""Layouts whose first plane is the luma, in the low bits."""
_FLAT = 10.0
"""Deviation of the luma (8-bit) below which a thumbnail is noise rather than a scene."""
CHANGE = 0.42
"""Mean absolute difference of two thumbnails that can be a cut; two unrelated pictures are near 1.1."""
ALONE = 2.0
"""A cut stands out by this factor from the changes around it; a pan or a shaken camera does not."""


def change(first: Float32, second: Float32) -> float:
    import cv2

    return float(cv2.norm(first, second, cv2.NORM_L1)) / first.size


def find_cuts(frames: Iterable[TimedFrame]) -> Iterator[tuple[TimedFrame, bool]]:
    """Each frame, with whether a new shot begins at it.

    A change is a cut where it stands alone among the changes around it, and where none of the next
    FLASH_FRAMES frames is like the one before it (else it was a flash, or a picture shown for an instant).
    Holds back at most FLASH_FRAMES frames, and those only after a change.
    """
    held: list[tuple[TimedFrame, Float32]] = []  # the doubtful frame first, then those that came after it
    before: Float32 | None = None  # the last frame that belongs to the shot for sure
    usual: list[float] = []  # recent changes within the shot

    def settle(last: Float32) -> Iterator[tuple[TimedFrame, bool]]:
        nonlocal before
        thumbs = [thumb for _, thumb in held]
        jump = change(last, thumbs[0])
        returns = [number for number, thumb in enumerate(thumbs[1:], 1) if change(last, thumb) < jump / 2]
        if returns:
            for shown, _ in held[: returns[0]]:
                yield shown, False
            del held[: returns[0]]
            return
        after = [change(a, b) for a, b in pairwise(thumbs)]
        around = max(*(sum(steps) / len(steps) for steps in (usual[-3:], after) if steps), 0.0, 0.0)
        cut = jump > ALONE * around
        yield held[0][0], cut
        usual[:] = [] if cut else [*usual[-2:], jump]
        before = thumbs[0]
        del held[0]

    def advance(all_of_them: bool) -> Iterator[tuple[TimedFrame, bool]]:
        nonlocal before
        while held:
            shown, thumb = held[0]
            step = 0.0 if before is None else change(before, thumb)
            if before is None or step < CHANGE:
                if before is not None:
                    usual[:] = [*usual[-2:], step]
                before = thumb
                del held[0]
                yield shown, False
            elif all_of_them or len(held) > FLASH_FRAMES:
                yield from settle(before)
            else:
                return

    for shown in frames:
        held.append((shown, thumbnail(shown.picture)))
        yield from advance(False)
    yield from advance(True)
