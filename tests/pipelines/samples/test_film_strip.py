"""A film strip consists of the unchanged bits of its crops."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import simplejpeg

from mien.ingest.errors import CorruptMediaError
from mien.pipelines.faces.crop import encode
from mien.pipelines.samples.film_strip import MAX_FRAMES, assemble_strip, strip_frames

INNER = slice(
    1, -1
)  # decoders interpolate chroma across the border of two frames, which affects one row each


def crop(seed: int, quality: int = 92) -> bytes:
    rng = np.random.default_rng(seed)
    coarse = [rng.integers(0, 256, (9, 9), np.uint8) for _ in range(3)]
    y, cb, cr = (
        np.asarray(cv2.resize(plane, (side, side), interpolation=cv2.INTER_CUBIC), np.uint8)
        for plane, side in zip(coarse, (128, 64, 64), strict=True)
    )
    return encode((y, cb, cr), quality)


CROPS = [crop(seed) for seed in range(12)]


def frames_of(strip: bytes) -> np.ndarray:
    pictures: np.ndarray = simplejpeg.decode_jpeg(strip, "RGB")
    return pictures.reshape(-1, 128, 128, 3)


def assert_frames(strip: bytes, crops: list[bytes]) -> None:
    bgr = cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR)
    assert bgr is not None
    by_opencv = bgr[..., ::-1].reshape(-1, 128, 128, 3)
    assert frames_of(strip).shape == by_opencv.shape == (len(crops), 128, 128, 3)
    for number, single in enumerate(crops):
        alone = simplejpeg.decode_jpeg(single, "RGB") if single else np.full((128, 128, 3), 128, np.uint8)
        np.testing.assert_array_equal(frames_of(strip)[number][INNER], alone[INNER])
        np.testing.assert_array_equal(by_opencv[number][INNER], alone[INNER])


def test_decodes_to_its_crops_and_grey_gaps() -> None:
    crops = [CROPS[0], b"", *CROPS[1:11], b""]
    assert_frames(assemble_strip(crops), crops)


def test_strip_of_only_gaps() -> None:
    assert_frames(assemble_strip([b"", b""]), [b"", b""])


def test_each_frame_adds_two_bytes() -> None:
    header = len(assemble_strip(CROPS[:1])) - len(assemble_strip([b""])) + 256
    strip = assemble_strip(CROPS)
    scans = sum(len(assemble_strip([single])) for single in CROPS) - len(CROPS) * (
        len(assemble_strip([b""])) - 256
    )
    assert header > 0
    assert len(strip) == len(assemble_strip([b""])) - 256 + scans + 2 * (len(CROPS) - 1)


@pytest.mark.parametrize("count", [1, 2, 9, 375, MAX_FRAMES])
def test_any_number_of_frames(count: int) -> None:
    strip = assemble_strip([CROPS[number % 12] for number in range(count)])
    assert strip_frames(strip) == count
    assert frames_of(strip).shape[0] == count


@pytest.mark.parametrize(
    ("crops", "message"),
    [
        ([], "1 to 511 frames, got 0"),
        ([CROPS[0]] * 512, "got 512"),
        ([CROPS[0], crop(1, 80)], "crop 1 has another JPEG header"),
        ([b"GIF89a"], "got 6 bytes that start with 47494638"),
        ([CROPS[0][:-2]], "not a complete baseline"),
        ([cv2.imencode(".jpg", np.zeros((64, 64, 3), np.uint8))[1].tobytes()], "128 pixels wide"),
        ([simplejpeg.encode_jpeg(np.zeros((128, 128, 3), np.uint8), colorsubsampling="444")], "4:2:0"),
    ],
)
def test_rejects_invalid_crops(crops: list[bytes], message: str) -> None:
    with pytest.raises(CorruptMediaError, match=message):
        assemble_strip(crops)
