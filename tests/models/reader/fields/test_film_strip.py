"""Windows of film strips equal the same frames of the whole strip, for our strips and foreign ones."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.reader.fields import film_strip
from mien.models.reader.fields.film_strip import (
    NotJpegError,
    StripDamagedError,
    cut_frames,
    decode_frames,
    read_header,
    sizes_of,
)
from tests.hypothesis_examples import examples
from tests.models.reader.fields.sample_factory import strip

Frames = npt.NDArray[np.uint8]


def decoded(jpeg: bytes, first: int, count: int, *, size: int = 128, channels: int = 3) -> Frames:
    out = np.full((count, size, size, channels), 0xA5, np.uint8)
    decode_frames(memoryview(jpeg), read_header(jpeg), out, first=first)
    return out


def whole(jpeg: bytes, side: int = 128) -> Frames:
    return np.asarray(simplejpeg.decode_jpeg(jpeg, "RGB"), np.uint8).reshape(-1, side, side, 3)


def assert_same_but_for_the_border(window: Frames, frames: Frames) -> None:
    """All rows are equal except the first and the last: in the whole strip their chroma is interpolated with
    the neighbouring frames."""
    flat, expected = window.reshape(-1, *window.shape[2:]), frames.reshape(-1, *frames.shape[2:])
    np.testing.assert_array_equal(flat[1:-1], expected[1:-1])


@settings(max_examples=examples(80))
@given(st.integers(1, 45), st.data())
def test_window_equals_frames(total: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, total - 1))
    count = data.draw(st.integers(1, total - first))
    jpeg = strip(total)
    assert_same_but_for_the_border(decoded(jpeg, first, count), whole(jpeg)[first : first + count])


@settings(max_examples=examples(80))
@given(st.integers(1, 45), st.data())
def test_cut_equals_strip_of_same_crops(total: int, data: st.DataObject) -> None:
    first = data.draw(st.integers(0, total - 1))
    count = data.draw(st.integers(1, total - first))
    jpeg = strip(total)
    assert cut_frames(jpeg, read_header(jpeg), first=first, count=count) == strip(count, first)


def test_finds_markers_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    jpeg = strip(4)
    for chunk in (1, 2, 3, 4097):
        monkeypatch.setattr(film_strip, "_CHUNK_BYTES", chunk)
        assert cut_frames(jpeg, read_header(jpeg), first=1, count=2) == strip(2, 1)


def others(total: int, *parameters: int) -> bytes:
    rows = whole(strip(total)).reshape(-1, 128, 3)
    flags = [cv2.IMWRITE_JPEG_QUALITY, 92, *parameters]
    return cv2.imencode(".jpg", rows[..., ::-1], flags)[1].tobytes()


SAMPLING_444 = (cv2.IMWRITE_JPEG_SAMPLING_FACTOR, cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)


@pytest.mark.parametrize(
    ("parameters", "intervals"),
    [
        ((cv2.IMWRITE_JPEG_RST_INTERVAL, 64), 1),
        ((cv2.IMWRITE_JPEG_RST_INTERVAL, 8), 8),
        ((cv2.IMWRITE_JPEG_RST_INTERVAL, 128, *SAMPLING_444), 2),
        ((cv2.IMWRITE_JPEG_RST_INTERVAL, 100), 0),
        ((), 0),
        ((cv2.IMWRITE_JPEG_PROGRESSIVE, 1, cv2.IMWRITE_JPEG_RST_INTERVAL, 64), 0),
    ],
)
@pytest.mark.parametrize(("first", "count"), [(0, 3), (3, 5), (9, 4), (12, 1)])
def test_decodes_foreign_strips(parameters: tuple[int, ...], intervals: int, first: int, count: int) -> None:
    """Strips with other intervals and sampling can be cut, too. Without usable markers the strip is decoded
    first."""
    jpeg = others(13, *parameters)
    assert read_header(jpeg).intervals_per_frame() == intervals
    assert_same_but_for_the_border(decoded(jpeg, first, count), whole(jpeg)[first : first + count])


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("size", [16, 32, 48, 64, 80, 96, 112])
def test_smaller_size_is_near_area_mean(size: int, channels: int) -> None:
    """libjpeg shrinks in the DCT, which is close to the mean of the pixels. Luma differs by less than 2 of
    256 levels on average and at most 16, although the noise is 6 per pixel. Colour is clipped in these
    pictures and differs by less than 4. (Real faces differ by 0.4 and 0.7 at 48 pixels.)"""
    jpeg = strip(9)
    frames = whole(jpeg)
    if channels == 1:
        frames = simplejpeg.decode_jpeg(jpeg, "GRAY").reshape(-1, 128, 128, 1)
    small = decoded(jpeg, 0, 9, size=size, channels=channels)
    for got, frame in zip(small, frames, strict=True):
        mean = cv2.resize(frame, (size, size), interpolation=cv2.INTER_AREA).reshape(got.shape)
        difference = np.abs(got.astype(int) - mean)
        assert difference.mean() < (2 if channels == 1 else 4)
        assert channels == 3 or difference.max() <= 16
        assert abs(got.mean() - mean.mean()) < 0.5  # no shift of the level


@pytest.mark.parametrize("size", [16, 48, 128])
def test_grey_window_equals_slice(size: int) -> None:
    """Luma is not interpolated, so a cut without colour is exact in every row."""
    jpeg = strip(20)
    np.testing.assert_array_equal(
        decoded(jpeg, 5, 7, size=size, channels=1), decoded(jpeg, 0, 20, size=size, channels=1)[5:12]
    )


def test_lists_possible_sizes() -> None:
    assert sizes_of(read_header(strip(1))) == (16, 32, 48, 64, 80, 96, 112, 128)


def test_lost_interval_raises() -> None:
    jpeg = strip(20)
    second = jpeg.index(b"\xff\xd1")
    third = jpeg.index(b"\xff\xd2")
    torn = jpeg[:second] + jpeg[third:]
    with pytest.raises(StripDamagedError, match="marker 1 has number 2"):
        decoded(torn, 4, 3)


@pytest.mark.parametrize(("first", "count"), [(0, 20), (4, 3), (15, 5)])
def test_truncated_member_raises(first: int, count: int) -> None:
    jpeg = strip(20)
    third = jpeg.index(b"\xff\xd3")
    with pytest.raises(StripDamagedError):
        decoded(jpeg[:third], first, count)


def test_frames_before_damage_decode() -> None:
    jpeg = strip(20)
    cut_off = jpeg[: jpeg.index(b"\xff\xd6")]
    assert_same_but_for_the_border(decoded(cut_off, 1, 4), whole(jpeg)[1:5])


@pytest.mark.parametrize("data", [b"", b"\xff", b"GIF89a", strip(3)[:100], strip(3)[:3], b"\xff\xd8\xff\xd9"])
def test_not_jpeg_raises(data: bytes) -> None:
    with pytest.raises(NotJpegError):
        read_header(data)


@pytest.mark.parametrize(("offset", "count"), [(2, 2), (6, 1)], ids=["no width", "no sampling"])
def test_header_with_zero_sampling_raises(offset: int, count: int) -> None:
    jpeg = bytearray(strip(2))
    at = read_header(bytes(jpeg)).height_at + offset
    for component in range(3 if count == 1 else 1):
        jpeg[at + 3 * component : at + 3 * component + count] = bytes(count)
    with pytest.raises(NotJpegError, match="pixels wide, sampling"):
        read_header(bytes(jpeg))


@settings(max_examples=examples(200))
@given(st.binary(max_size=40), st.integers(2, 620))
def test_random_headers_never_crash(junk: bytes, at: int) -> None:
    """Random bytes either parse as a header or raise NotJpegError."""
    jpeg = strip(2)
    try:
        header = read_header(jpeg[:at] + junk + jpeg[at + len(junk) :])
    except NotJpegError:
        return
    assert header.scan_at > 0
