"""The contract of every registered detector, and the small picture that they receive."""

from __future__ import annotations

import av
import cv2
import numpy as np
import pytest

from mien.ingest.errors import ProviderError
from mien.pipelines.data import UInt8
from mien.pipelines.faces.detect import DETECTORS, Detector, detection_size, small_picture
from mien.pipelines.weights import locate
from tests.pipelines.faces.real_clips import clip, require_weights


def open_detector(name: str, device: str = "cpu") -> Detector:
    require_weights(name)
    return DETECTORS[name](name, locate(name), device=device, threads=1, threshold=0.5)


def frame_of(name: str, number: int = 20) -> UInt8:
    with av.open(str(clip(name))) as film:
        for at, frame in enumerate(film.decode(video=0)):
            if at == number:
                return np.asarray(frame.to_ndarray(format="bgr24"), np.uint8)
    raise AssertionError(name)


@pytest.mark.parametrize("name", DETECTORS)
class TestContract:
    def test_finds_nothing_in_black_picture(self, name: str) -> None:
        found = open_detector(name).find(np.zeros((180, 320, 3), np.uint8))
        assert (found.boxes.shape, found.landmarks.shape, found.scores.shape) == ((0, 4), (0, 5, 2), (0,))

    @pytest.mark.parametrize("film", ["grid_bbaf2n.mpg", "interview_512.mp4", "german_speaker.mp4"])
    def test_finds_one_face(self, name: str, film: str) -> None:
        picture = frame_of(film)
        size = detection_size(picture.shape[1], picture.shape[0], 40)
        small = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)
        found = open_detector(name).find(small)
        assert found.boxes.shape == (1, 4)
        assert found.boxes.dtype == found.landmarks.dtype == found.scores.dtype == np.float32
        x0, y0, x1, y1 = found.boxes[0]
        left_eye, right_eye, nose, left_mouth, right_mouth = found.landmarks[0]
        assert 0.5 <= found.scores[0] <= 1
        assert x0 < left_eye[0] < right_eye[0] < x1
        assert left_mouth[0] < right_mouth[0]
        assert y0 < left_eye[1] < nose[1] < left_mouth[1] < y1
        assert left_eye[0] < nose[0] < right_eye[0]

    def test_mirrored_face_has_mirrored_landmarks(self, name: str) -> None:
        picture, detector = frame_of("grid_lbax4n.mpg"), open_detector(name)
        found, mirrored = detector.find(picture), detector.find(np.ascontiguousarray(picture[:, ::-1]))
        back = mirrored.landmarks[0][[1, 0, 2, 4, 3]] * (-1, 1) + (picture.shape[1], 0)
        apart = np.linalg.norm(found.landmarks[0] - back, axis=-1)
        assert apart.max() < 0.2 * np.linalg.norm(found.landmarks[0][0] - found.landmarks[0][1])

    def test_accepts_any_picture_size(self, name: str) -> None:
        detector = open_detector(name)
        for width, height in ((331, 187), (187, 331), (320, 320), (640, 360)):
            picture = np.asarray(cv2.resize(frame_of("grid_bbaf2n.mpg"), (width, height)), np.uint8)
            assert len(detector.find(picture).scores) == 1

    def test_reports_name_hash_and_provider(self, name: str) -> None:
        use = open_detector(name).use
        assert use.name == name
        assert len(use.sha256) == 64
        assert use.provider in ("CPUExecutionProvider", "OpenCVDNN")

    def test_never_falls_back_from_cuda_silently(self, name: str) -> None:
        import onnxruntime

        if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
            pytest.skip("needs an onnxruntime without CUDA")
        with pytest.raises(ProviderError, match=r"device is cuda|got device cuda"):
            open_detector(name, "cuda")


@pytest.mark.parametrize(
    ("width", "height", "min_face", "size"),
    [
        (1920, 1080, 40, (640, 360)),
        (1280, 720, 40, (512, 288)),
        (640, 360, 40, (320, 180)),
        (7680, 4320, 40, (640, 360)),
        (360, 640, 40, (180, 320)),
        (1920, 1080, 96, (320, 180)),
        (512, 512, 40, (320, 320)),
        (4000, 10, 40, (640, 2)),
    ],
)
def test_detection_size(width: int, height: int, min_face: float, size: tuple[int, int]) -> None:
    assert detection_size(width, height, min_face) == size


def synthetic_frame(width: int, height: int, layout: str) -> av.VideoFrame:
    rng = np.random.default_rng(3)
    coarse = rng.integers(30, 220, (9, 16, 3), np.uint8)
    rgb = np.asarray(cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC), np.uint8)
    return av.VideoFrame.from_ndarray(rgb, format="rgb24").reformat(format=layout)


@pytest.mark.parametrize("layout", ["yuv420p", "yuv444p", "nv12", "yuv420p10le", "rgb24", "gray"])
@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 358), (322, 182), (160, 120), (90, 160)])
def test_small_picture_matches_swscale(layout: str, width: int, height: int) -> None:
    frame = synthetic_frame(width, height, layout)
    small = small_picture(frame, 320, 181)
    assert small.shape in {(180, 320, 3), (181, 320, 3)} and small.dtype == np.uint8
    expected = frame.reformat(
        small.shape[1], small.shape[0], format="bgr24", interpolation="AREA"
    ).to_ndarray()
    assert np.abs(small.astype(int) - expected).mean() < 4.0


def test_small_picture_of_one_pixel() -> None:
    assert small_picture(synthetic_frame(16, 16, "yuv420p"), 1, 1).shape == (2, 2, 3)
