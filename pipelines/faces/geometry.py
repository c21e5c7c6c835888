"""Plane geometry of faces: alignment, upright and stored pictures, overlap. Pure functions, NumPy alone."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mien.pipelines.data import Float32, Float64

TEMPLATE: Float64 = np.array(
    [[46.2946, 51.6963], [81.5318, 51.5014], [64.0252, 71.7366], [49.5493, 92.3655], [78.7299, 92.2041]]
)
"""(5, 2) where the landmarks lie in a crop of CROP_PIXELS (128): ArcFace's template, as insightface has it in
utils/face_align.py, moved 8 pixels to the right, as insightface does for 128.
So ARCFACE is ArcFace's own crop."""

ARCFACE = (slice(0, 112), slice(8, 120))
"""Rows and columns of a crop that ArcFace takes."""


_MIDDLE = TEMPLATE.mean(0)
_AIM = TEMPLATE - _MIDDLE
_SUMS: Float64 = np.stack(
    [
        _AIM.ravel(),
        np.stack([-_AIM[:, 1], _AIM[:, 0]], 1).ravel() * -1.0,
        np.tile([0.2, 0.0], 5),
        np.tile([0.0, 0.2], 5),
    ]
)
"""(4, 10) what the least squares need of the flat landmarks: two products with the template, two means."""


def similarity(landmarks: Float32 | Float64) -> Float64:
    """(2, 3) rotation, scale and shift that bring `landmarks` (5, 2) nearest to TEMPLATE.

    Closed form of the least squares over similarities without reflection (Umeyama 1991; in the plane it is
    a linear problem in a + ib): two dot products instead of a singular value decomposition.
    """
    flat = np.asarray(landmarks, np.float64).ravel()
    along, across, x, y = (_SUMS @ flat).tolist()
    norm = float(flat @ flat) - 5 * (x * x + y * y)
    if norm < 1e-9:  # all five in one place: no scale can be told
        norm = 1.0
    a, b = along / norm, across / norm
    return np.array([[a, -b, _MIDDLE[0] - a * x + b * y], [b, a, _MIDDLE[1] - b * x - a * y]])


def compose(outer: Float64, inner: Float64) -> Float64:
    """(2, 3) map that does `inner` first, then `outer`."""
    result: Float64 = outer[:, :2] @ inner
    result[:, 2] += outer[:, 2]
    return result


def inverse(transform: Float64) -> Float64:
    """(2, 3) map that undoes `transform`."""
    (a, b, x), (c, d, y) = transform.tolist()
    scale = 1.0 / (a * d - b * c)
    a, b, c, d = d * scale, -b * scale, -c * scale, a * scale
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]])


@lru_cache(maxsize=16)
def upright_from_stored(rotation_degrees: int, width_pixels: int, height_pixels: int) -> Float64:
    """(2, 3) map from pixels of the stored picture (of that width and height) to pixels of the upright one.

    `rotation_degrees` is the clockwise turn that makes the stored picture upright: 0, 90, 180 or 270.
    """
    right, bottom = width_pixels - 1.0, height_pixels - 1.0
    upright: Float64 = {
        0: np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        90: np.array([[0.0, -1.0, bottom], [1.0, 0.0, 0.0]]),
        180: np.array([[-1.0, 0.0, right], [0.0, -1.0, bottom]]),
        270: np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, right]]),
    }[rotation_degrees % 360]
    upright.setflags(write=False)  # kept, and given to all
    return upright


def overlap(first: Float32, second: Float32) -> Float32:
    """(N, M) intersection over union of boxes (N, 4) and (M, 4), as x0, y0, x1, y1."""
    low = np.maximum(first[:, None, :2], second[None, :, :2])
    high = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(high - low, 0, None).prod(-1)
    areas = [np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1) for boxes in (first, second)]
    union = areas[0][:, None] + areas[1][None, :] - both
    return np.asarray(both / np.maximum(union, 1e-6), np.float32)


def face_pixels(boxes: Float32) -> Float32:
    """(N,) size of a face: the geometric mean of its box's sides."""
    return np.asarray(np.sqrt(np.clip(boxes[:, 2:] - boxes[:, :2], 0, None).prod(-1)), np.float32)
