"""Face detection: the networks, and running one of them on a decoded frame."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from mien.ingest.errors import ProviderError
from mien.pipelines.data import Float32, ModelUse, UInt8
from mien.pipelines.faces.crop import PLANAR_420_FORMATS, planes_of
from mien.pipelines.faces.grid_frames import TimedFrame
from mien.pipelines.faces.onnx_session import Device, model_use, open_session, verify_provider

LONG_SIDE_PIXELS = (320, 640)
MIN_DETECTABLE_PIXELS = 16
"""Both networks still detect faces of this size in their input; recall drops below it."""
STRIDE_PIXELS = 32


@dataclass(frozen=True, slots=True)
class Detections:
    """The faces in one picture, in its pixels."""

    boxes: Float32
    """(N, 4) x0, y0, x1, y1"""
    landmarks: Float32
    """(N, 5, 2) left eye, right eye, nose, left and right mouth corner, as seen in the picture"""
    scores: Float32
    """(N,)"""


class Detector(Protocol):
    """Detects faces of `MIN_DETECTABLE_PIXELS` and more."""

    use: ModelUse

    def find(self, picture: UInt8) -> Detections:
        """The faces in a BGR picture (H, W, 3) whose score reaches the threshold of the constructor."""
        ...


class Scrfd:
    """SCRFD (Guo et al. 2021): insightface's class on a session that we open."""

    def __init__(self, name: str, path: Path, *, device: Device, threads: int, threshold: float) -> None:
        from mien.pipelines.faces.scrfd import SparseScrfd

        session = open_session(path, device, threads)
        # One session for every size. A static copy for each size is no faster (measured) and is never freed.
        self._model = SparseScrfd(str(path), session=session, static_shape_sessions=False)
        self._threshold = threshold
        self.use = model_use(name, path, verify_provider(session, device))

    def find(self, picture: UInt8) -> Detections:
        height, width = picture.shape[:2]
        size = tuple(-(-side // STRIDE_PIXELS) * STRIDE_PIXELS for side in (width, height))
        found, landmarks = self._model.detect(picture, input_size=size, det_thresh=self._threshold)
        return Detections(found[:, :4], landmarks, found[:, 4])


class Yunet:
    """YuNet (Wu et al. 2023) in OpenCV: the detector whose weights have a permissive licence."""

    def __init__(self, name: str, path: Path, *, device: Device, threads: int, threshold: float) -> None:
        import cv2

        if device != "cpu":
            raise ProviderError(
                f"the detector {name} runs in OpenCV on the CPU only, got device {device}: "
                "set device to cpu, or detector to scrfd_500m"
            )
        cv2.setNumThreads(threads)
        self._model: Any = cv2.FaceDetectorYN.create(str(path), "", (320, 320), threshold, 0.4, 5000)
        self.use = model_use(name, path, "OpenCVDNN")

    def find(self, picture: UInt8) -> Detections:
        self._model.setInputSize((picture.shape[1], picture.shape[0]))
        found = self._model.detect(picture)[1]
        if found is None:
            found = np.empty((0, 15), np.float32)
        boxes = np.hstack([found[:, :2], found[:, :2] + found[:, 2:4]])
        # YuNet names sides from the person's view: its right eye comes first, which is left in the picture.
        return Detections(boxes, found[:, 4:14].reshape(-1, 5, 2), found[:, 14])


DETECTORS: dict[str, Callable[..., Detector]] = {"scrfd_500m": Scrfd, "yunet_2023mar": Yunet}


class FrameDetector:
    """Detects the faces in the frames of one video, using a small upright copy of each frame."""

    def __init__(self, detector: Detector, *, min_face_pixels: float, rotation_degrees: int) -> None:
        self._detector = detector
        self._min_face_pixels = min_face_pixels
        self._rotation_degrees = rotation_degrees

    def find(self, frame: TimedFrame) -> Detections:
        """The faces, in pixels of the upright frame at full size."""
        picture = frame.picture
        width, height = detection_size(picture.width, picture.height, self._min_face_pixels)
        small = small_picture(picture, width, height)
        scale = np.array([picture.width / small.shape[1], picture.height / small.shape[0]], np.float32)
        if self._rotation_degrees % 180:
            scale = scale[::-1]
        if self._rotation_degrees:
            small = np.ascontiguousarray(np.rot90(small, -(self._rotation_degrees // 90)))
        found = self._detector.find(small)
        return Detections(found.boxes * np.tile(scale, 2), found.landmarks * scale, found.scores)


def detection_size(width_pixels: int, height_pixels: int, min_face_pixels: float) -> tuple[int, int]:
    """Width and height at which a face of `min_face_pixels` can still be detected; the shape is preserved.

    The long side is a multiple of 32. The detector pads the short side to the next multiple (320 x 180 to
    320 x 192).
    """
    long = max(width_pixels, height_pixels)
    needed = long * MIN_DETECTABLE_PIXELS / min_face_pixels
    low, high = LONG_SIDE_PIXELS
    side = int(np.clip(-(-needed // STRIDE_PIXELS) * STRIDE_PIXELS, low, high))
    return max(1, round(width_pixels * side / long)), max(1, round(height_pixels * side / long))


def small_picture(frame: Any, width: int, height: int) -> UInt8:
    """(height, width, 3) BGR copy of an av.VideoFrame; for 4:2:0 the sides are rounded down to even numbers.

    The planes are shrunk before colour conversion, which needs a third of swscale's CPU time. Matrix and
    range are assumed to be BT.601's, as in the detector's training data; others get slightly wrong hues.
    """
    import cv2

    if frame.format.name not in PLANAR_420_FORMATS:
        return np.asarray(frame.reformat(width, height, format="bgr24", threads=1).to_ndarray(), np.uint8)
    half_width, half_height = max(1, width // 2), max(1, height // 2)
    pixels = half_width * half_height
    packed = np.empty(6 * pixels, np.uint8)
    shapes = ((2 * half_height, 2 * half_width), (half_height, half_width), (half_height, half_width))
    ends = (0, 4 * pixels, 5 * pixels, 6 * pixels)
    for number, (plane, shape) in enumerate(zip(planes_of(frame), shapes, strict=True)):
        interpolation = cv2.INTER_AREA if plane.shape[0] > shape[0] else cv2.INTER_LINEAR
        target = packed[ends[number] : ends[number + 1]].reshape(shape)
        cv2.resize(plane, shape[::-1], dst=target, interpolation=interpolation)
    planar = packed.reshape(3 * half_height, 2 * half_width)
    return np.asarray(cv2.cvtColor(planar, cv2.COLOR_YUV2BGR_I420), np.uint8)
