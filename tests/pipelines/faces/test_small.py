from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from mien.pipelines.faces.small import small_picture


def scene(width: int, height: int, layout: str) -> av.VideoFrame:
    rng = np.random.default_rng(3)
    coarse = rng.integers(30, 220, (9, 16, 3), np.uint8)
    rgb = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=layout)


@pytest.mark.parametrize("layout", ["yuv420p", "yuv444p", "nv12", "yuv420p10le", "rgb24", "gray"])
@pytest.mark.parametrize(("wide", "high"), [(1280, 720), (640, 358), (322, 182), (160, 120), (90, 160)])
def test_the_small_picture_is_what_swscale_makes(layout: str, wide: int, high: int) -> None:
    frame = scene(wide, high, layout)
    small = small_picture(frame, 320, 181)
    assert small.shape in {(180, 320, 3), (181, 320, 3)} and small.dtype == np.uint8
    whole = frame.reformat(small.shape[1], small.shape[0], format="bgr24", interpolation="AREA").to_ndarray()
    assert np.abs(small.astype(int) - whole).mean() < 4.0


def test_a_picture_of_one_pixel_has_a_copy_too() -> None:
    assert small_picture(scene(16, 16, "yuv420p"), 1, 1).shape == (2, 2, 3)
