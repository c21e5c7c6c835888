"""The small BGR copy of a decoded picture that the detector sees."""

from __future__ import annotations

from typing import Any

import numpy as np

from mien.pipelines.data import UInt8
from mien.pipelines.faces.crop import DIRECT, planes_of


def small_picture(frame: Any, width: int, height: int) -> UInt8:
    """(height, width, 3) BGR of an av.VideoFrame; of 4:2:0, sides rounded down to even.

    The planes are shrunk before their colours are mixed: a third of swscale's CPU. Matrix and range are taken
    as BT.601's, as the detector's training pictures were; of others the hues are a little off.
    """
    import cv2

    if frame.format.name not in DIRECT:
        return np.asarray(frame.reformat(width, height, format="bgr24", threads=1).to_ndarray(), np.uint8)
    wide, high = max(1, width // 2), max(1, height // 2)
    pixels = wide * high
    packed = np.empty(6 * pixels, np.uint8)
    shapes = ((2 * high, 2 * wide), (high, wide), (high, wide))
    ends = (0, 4 * pixels, 5 * pixels, 6 * pixels)
    for number, (plane, shape) in enumerate(zip(planes_of(frame), shapes, strict=True)):
        how = cv2.INTER_AREA if plane.shape[0] > shape[0] else cv2.INTER_LINEAR
        target = packed[ends[number] : ends[number + 1]].reshape(shape)
        cv2.resize(plane, shape[::-1], dst=target, interpolation=how)
    return np.asarray(cv2.cvtColor(packed.reshape(3 * high, 2 * wide), cv2.COLOR_YUV2BGR_I420), np.uint8)
