"""Plain pictures of foreign shards."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mien.ingest.errors import DamagedSampleError
from mien.models.reader.data import RawSample
from mien.models.reader.fields import Collator, ImageField
from tests.models.reader.fields.sample_factory import allocate

PICTURE = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)


def picture(data: bytes, member: str = "png") -> RawSample:
    return RawSample(key="p", corpus=0, members={member: data}, row={}, seed=0)


def png(values: np.ndarray) -> bytes:
    return cv2.imencode(".png", values[..., ::-1])[1].tobytes()


def test_decodes_exact_pixels() -> None:
    batch = Collator([ImageField("png")]).batch(
        [picture(png(PICTURE)), picture(png(PICTURE[::-1]))], allocate
    )
    np.testing.assert_array_equal(batch["image"][0], PICTURE)
    np.testing.assert_array_equal(batch["image"][1], PICTURE[::-1])


def test_jpeg_is_the_default() -> None:
    smooth = cv2.resize(PICTURE[:4, :6], (60, 40), interpolation=cv2.INTER_CUBIC)
    data = cv2.imencode(".jpg", smooth[..., ::-1])[1].tobytes()
    got = Collator(["image"]).one(picture(data, "jpg"))["image"]
    assert np.abs(got.astype(int) - smooth).mean() < 6


def test_sizes_and_grey() -> None:
    small = [picture(png(PICTURE)), picture(png(PICTURE[:20]))]
    batch = Collator([ImageField("png", size=48, grey=True)]).batch(small, allocate)
    assert batch["image"].shape == (2, 48, 48, 1)
    with pytest.raises(DamagedSampleError, match="60 × 20 pixels, others have 60 × 40"):
        Collator([ImageField("png")]).batch(small, allocate)


@pytest.mark.parametrize("data", [b"", b"\x89PNG", png(PICTURE)[:60]])
def test_damaged_image_raises(data: bytes) -> None:
    with pytest.raises(DamagedSampleError, match="png is damaged"):
        Collator([ImageField("png")]).one(picture(data))
