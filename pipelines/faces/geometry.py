"""Plane geometry of faces: alignment, rotation of stored frames, box overlap. Pure functions, NumPy only."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from mien.pipelines.data import Float32, Float64

TEMPLATE: Float64 = np.array(
    [[46.2946, 51.6963], [81.5318, 51.5014], [64.0252, 71.7366], [49.5493, 92.3655], [78.7299, 92.2041]]
)
"""(5, 2) positions of the landmarks in a crop of CROP_PIXELS (128): ArcFace's template of insightface's
utils/face_align.py, moved 8 pixels to the right, as insightface does for 128. The region ARCFACE of a crop is
therefore exactly ArcFace's own crop."""

ARCFACE = (slice(0, 112), slice(8, 120))
"""Rows and columns of a crop that ArcFace uses."""


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
"""(4, 10) the sums over flattened landmarks that least squares needs: two products with the template and
two means."""


def similarity(landmarks: Float32 | Float64) -> Float64:
    """(2, 3) rotation, scale and shift that map `landmarks` (5, 2) closest to TEMPLATE.

    Closed form of least squares over similarities without reflection (Umeyama 1991). In the plane it is a
    linear problem in a + ib, which needs two dot products instead of a singular value decomposition.
    """
    flat = np.asarray(landmarks, np.float64).ravel()
    along, across, x, y = (_SUMS @ flat).tolist()
    norm = float(flat @ flat) - 5 * (x * x + y * y)
    if norm < 1e-9:  # all five points coincide: the scale is undefined
        norm = 1.0
    a, b = along / norm, across / norm
    return np.array([[a, -b, _MIDDLE[0] - a * x + b * y], [b, a, _MIDDLE[1] - b * x - a * y]])


def compose(outer: Float64, inner: Float64) -> Float64:
    """(2, 3) map that applies `inner` first, then `outer`."""
    result: Float64 = outer[:, :2] @ inner
    result[:, 2] += outer[:, 2]
    return result


def inverse(transform: Float64) -> Float64:
    """(2, 3) inverse of `transform`."""
    (a, b, x), (c, d, y) = transform.tolist()
    scale = 1.0 / (a * d - b * c)
    a, b, c, d = d * scale, -b * scale, -c * scale, a * scale
    return np.array([[a, b, -a * x - b * y], [c, d, -c * x - d * y]])


@lru_cache(maxsize=16)
def upright_from_stored(rotation_degrees: int, width_pixels: int, height_pixels: int) -> Float64:
    """(2, 3) map from pixels of the stored frame to pixels of the upright frame.

    Width and height are those of the stored frame. `rotation_degrees` is the clockwise rotation that makes it
    upright: 0, 90, 180 or 270.
    """
    right, bottom = width_pixels - 1.0, height_pixels - 1.0
    upright: Float64 = {
        0: np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]),
        90: np.array([[0.0, -1.0, bottom], [1.0, 0.0, 0.0]]),
        180: np.array([[-1.0, 0.0, right], [0.0, -1.0, bottom]]),
        270: np.array([[0.0, 1.0, 0.0], [-1.0, 0.0, right]]),
    }[rotation_degrees % 360]
    upright.setflags(write=False)  # cached and shared by all callers
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
