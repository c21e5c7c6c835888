"""Crops from the planes match those that insightface cuts from the full RGB picture."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest
import simplejpeg
from av.video.reformatter import ColorRange, Colorspace

from mien.pipelines.faces.crop import blur, encode, read_picture, warp_crop
from mien.pipelines.faces.geometry import TEMPLATE, compose, similarity, upright_from_stored

BT601, BT709, BT2020 = 5, 1, 9


def scene(width: int, height: int) -> np.ndarray:
    """(H, W, 3) RGB: smooth colours, some lines, no detail that 4:2:0 would lose."""
    y, x = np.mgrid[:height, :width].astype(np.float32)
    unit = max(width, height) / 320
    waves = [
        np.sin(x / (a * unit) + i) * np.cos(y / (b * unit))
        for i, (a, b) in enumerate([(17, 23), (29, 13), (21, 31)])
    ]
    picture = (128 + 90 * np.stack(waves, -1)).astype(np.uint8)
    cv2.circle(picture, (width // 2, height // 2), int(40 * unit), (250, 210, 180), int(8 * unit))
    return cv2.GaussianBlur(picture, (0, 0), 1.2 * unit)


def landmarks(width: int, height: int, face_pixels: float) -> np.ndarray:
    rotation = np.array([[0.96, -0.28], [0.28, 0.96]]) * face_pixels / 70
    points: np.ndarray = (TEMPLATE - TEMPLATE.mean(0)) @ rotation.T + (width * 0.45, height * 0.55)
    return points.astype(np.float32)


def stored(rgb: np.ndarray, layout: str, matrix: int = BT601, full: bool = False) -> av.VideoFrame:
    levels = ColorRange.JPEG if full else ColorRange.MPEG
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(
        format=layout, dst_colorspace=Colorspace(matrix), dst_color_range=levels, threads=1
    )
    frame.colorspace, frame.color_range = matrix, int(levels)
    return frame


def crop_of(frame: av.VideoFrame, points: np.ndarray, rotation: int = 0) -> np.ndarray:
    upright = upright_from_stored(rotation, frame.width, frame.height)
    crop = warp_crop(read_picture(frame), compose(similarity(points), upright))
    picture: np.ndarray = simplejpeg.decode_jpeg(encode(crop), "RGB")
    return picture.astype(int)


def expected_crop(rgb: np.ndarray, points: np.ndarray) -> np.ndarray:
    from insightface.utils.face_align import norm_crop

    picture: np.ndarray = norm_crop(rgb, points, 128)
    return picture.astype(int)


@pytest.mark.parametrize(
    ("layout", "matrix", "full"),
    [
        ("yuv420p", BT601, False),
        ("yuv420p", BT709, False),
        ("yuv420p", BT2020, False),
        ("yuv420p", BT709, True),
        ("yuvj420p", BT601, True),
        ("yuv422p", BT709, False),
        ("yuv444p", BT709, False),
        ("yuv444p", BT601, True),
        ("yuvj444p", BT601, True),
        ("yuv420p10le", BT709, False),
        ("yuv444p10le", BT2020, False),
        ("nv12", BT709, False),
    ],
)
def test_pixel_formats_matrices_and_ranges(layout: str, matrix: int, full: bool) -> None:
    rgb, points = scene(480, 360), landmarks(480, 360, 90)
    difference = np.abs(crop_of(stored(rgb, layout, matrix, full), points) - expected_crop(rgb, points))
    assert difference.mean() < 2.0
    assert abs((crop_of(stored(rgb, layout, matrix, full), points) - expected_crop(rgb, points)).mean()) < 0.8


@pytest.mark.parametrize("layout", ["rgb24", "bgr24", "gbrp", "rgba"])
def test_rgb_videos(layout: str) -> None:
    rgb, points = scene(480, 360), landmarks(480, 360, 90)
    frame = av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=layout, threads=1)
    assert np.abs(crop_of(frame, points) - expected_crop(rgb, points)).mean() < 2.0


def test_grey_video() -> None:
    rgb = np.repeat(scene(480, 360)[..., :1], 3, -1)
    frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(rgb[..., 0]), format="gray")
    points = landmarks(480, 360, 90)
    assert np.abs(crop_of(frame, points) - expected_crop(rgb, points)).mean() < 1.5


@pytest.mark.parametrize(("width", "height"), [(481, 361), (321, 242), (322, 243), (641, 363)])
def test_odd_frame_sizes(width: int, height: int) -> None:
    rgb, points = scene(width, height), landmarks(width, height, height / 4)
    assert np.abs(crop_of(stored(rgb, "yuv420p"), points) - expected_crop(rgb, points)).mean() < 2.3


@pytest.mark.parametrize("rotation", [90, 180, 270])
@pytest.mark.parametrize(("width", "height"), [(480, 360), (360, 482)])
def test_rotated_videos_give_upright_crops(rotation: int, width: int, height: int) -> None:
    rgb, points = scene(width, height), landmarks(width, height, 90)
    turned = np.ascontiguousarray(
        np.rot90(rgb, rotation // 90)
    )  # stored counterclockwise, so it has to be rotated clockwise
    assert (
        np.abs(crop_of(stored(turned, "yuv420p"), points, rotation) - expected_crop(rgb, points)).mean() < 2.0
    )


@pytest.mark.parametrize("face_pixels", [300, 600, 800])
def test_shrinks_large_faces_without_aliasing(face_pixels: int) -> None:
    rgb, points = scene(2560, 1440), landmarks(2560, 1440, face_pixels)
    assert np.abs(crop_of(stored(rgb, "yuv420p", BT709), points) - expected_crop(rgb, points)).mean() < 2.5
    noise = np.random.default_rng(0).integers(0, 256, (1440, 2560, 3), np.uint8)
    assert crop_of(stored(noise, "yuv420p", BT709), points).std() < expected_crop(noise, points).std() * 0.8


def test_pixels_outside_the_frame_are_black() -> None:
    rgb = np.full((360, 480, 3), 200, np.uint8)
    points = landmarks(480, 360, 90) - (210, 0)
    difference = np.abs(
        crop_of(stored(rgb, "yuv420p"), points) - expected_crop(rgb, points.astype(np.float32))
    )
    assert difference.mean() < 2.0


def test_unspecified_matrix_in_hd_is_bt709() -> None:
    rgb, points = scene(1280, 720), landmarks(1280, 720, 90)
    frame = stored(rgb, "yuv420p", BT709)
    frame.colorspace = 2
    assert np.abs(crop_of(frame, points) - expected_crop(rgb, points)).mean() < 2.0


def test_blur_value_orders_by_sharpness() -> None:
    sharp = np.random.default_rng(0).integers(0, 256, (128, 128), np.uint8)
    soft, softer = (np.asarray(cv2.GaussianBlur(sharp, (0, 0), sigma), np.uint8) for sigma in (1, 3))
    assert blur(sharp) > blur(soft) > blur(softer) > 0
    assert blur(np.full((128, 128), 9, np.uint8)) == 0


def test_jpeg_is_baseline_with_standard_tables() -> None:
    y, cb, cr = (np.random.default_rng(0).integers(0, 256, (side, side), np.uint8) for side in (128, 64, 64))
    jpeg = encode((y, cb, cr))
    assert b"\xff\xc0" in jpeg
    assert b"\xff\xc2" not in jpeg
    assert jpeg[jpeg.index(b"\xff\xc4") + 5 :].startswith(bytes([0, 1, 5, 1, 1, 1, 1, 1, 1]))
