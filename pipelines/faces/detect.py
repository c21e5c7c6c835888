"""Finding faces in one small upright picture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mien.ingest.errors import ProviderError
from mien.pipelines.data import Float32, ModelUse, UInt8
from mien.pipelines.faces.sessions import Device, open_session, prove, use_of

LONG_SIDE_PIXELS = (320, 640)
SMALLEST_FOUND_PIXELS = 16
"""What both networks still find of a face in their input; below it recall falls off."""
STRIDE_PIXELS = 32


@dataclass(frozen=True, slots=True)
class Detections:
    """The faces of one picture, in its pixels."""

    boxes: Float32
    """(N, 4) x0, y0, x1, y1"""
    landmarks: Float32
    """(N, 5, 2) left eye, right eye, nose, left and right mouth corner, as seen in the picture"""
    scores: Float32
    """(N,)"""


class Detector(Protocol):
    """Finds faces of `SMALLEST_FOUND_PIXELS` and more."""

    use: ModelUse

    def find(self, picture: UInt8) -> Detections:
        """The faces of a BGR picture (H, W, 3) whose score is at least the threshold it was made with."""
        ...


class Scrfd:
    """SCRFD (Guo et al. 2021) by insightface's own class, on a session that we opened."""

    def __init__(self, name: str, path: Path, *, device: Device, threads: int, threshold: float) -> None:
        from mien.pipelines.faces.lean_scrfd import LeanScrfd

        session = open_session(path, device, threads)
        # One session for every size: a static copy for each is no faster here (measured) and is never freed.
        self._model = LeanScrfd(str(path), session=session, static_shape_sessions=False)
        self._threshold = threshold
        self.use = use_of(name, path, prove(session, device))

    def find(self, picture: UInt8) -> Detections:
        height, width = picture.shape[:2]
        size = tuple(-(-side // STRIDE_PIXELS) * STRIDE_PIXELS for side in (width, height))
        found, landmarks = self._model.detect(picture, input_size=size, det_thresh=self._threshold)
        return Detections(found[:, :4], landmarks, found[:, 4])


class Yunet:
    """YuNet (Wu et al. 2023) by OpenCV: the detector whose weights anyone may use."""

    def __init__(self, name: str, path: Path, *, device: Device, threads: int, threshold: float) -> None:
        import cv2

        if device != "cpu":
            raise ProviderError(
                f"the detector {name} runs in OpenCV, on the CPU alone, got device {device}: "
                "set its device to cpu, or detector to scrfd_500m"
            )
        cv2.setNumThreads(threads)
        self._model: Any = cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold, 0.4, 5000)
        self.use = use_of(name, path, "OpenCVDNN")

    def find(self, picture: UInt8) -> Detections:
        self._model.setInputSize((picture.shape[1], picture.shape[0]))
        found = self._model.detect(picture)[1]
        if found is None:
            found = np.empty((0, 15), np.float32)
        boxes = np.hstack([found[:, :2], found[:, :2] + found[:, 2:4]])
        # YuNet names sides as the person would: its right eye comes first, which is the left in the picture.
        return Detections(boxes, found[:, 4:14].reshape(-1, 5, 2), found[:, 14])


DETECTORS: dict[str, Callable[..., Detector]] = {"scrfd_500m": Scrfd, "yunet_2023mar": Yunet}


def detection_size(width_pixels: int, height_pixels: int, min_face_pixels: float) -> tuple[int, int]:
    """Width and height, in the picture's own shape, at which its smallest wanted face is still found.

    The long side is a multiple of 32; the detector pads the short one to the next (320 x 180 to 320 x 192).
    """
    long = max(width_pixels, height_pixels)
    wanted = long * SMALLEST_FOUND_PIXELS / min_face_pixels
    low, high = LONG_SIDE_PIXELS
    side = int(np.clip(-(-wanted // STRIDE_PIXELS) * STRIDE_PIXELS, low, high))
    return max(1, round(width_pixels * side / long)), max(1, round(height_pixels * side / long))
