"""What is done with one decoded frame: find faces in a small copy of it, cut a face out of its planes."""

from __future__ import annotations

from typing import Any

import numpy as np

from mien.pipelines.data import CROP_PIXELS, Float32, UInt8
from mien.pipelines.faces.crop import Picture, blur, encode, read_picture, warp_crop
from mien.pipelines.faces.detect import Detections, Detector, detection_size
from mien.pipelines.faces.geometry import compose, similarity, upright_from_stored
from mien.pipelines.faces.rows import TimedFrame
from mien.pipelines.faces.small import small_picture
from mien.pipelines.faces.tracks import FaceCrop


class FaceCropper:
    """Looks at the frames of one film; keeps the planes of the frame that it looked at last."""

    def __init__(self, detector: Detector, *, min_face_pixels: float, rotation_degrees: int) -> None:
        self._detector = detector
        self._min_face_pixels = min_face_pixels
        self._rotation_degrees = rotation_degrees
        self._last: tuple[Any, Picture] | None = None

    def find(self, shown: TimedFrame) -> Detections:
        """The faces, in pixels of the upright picture."""
        picture = shown.picture
        width, height = detection_size(picture.width, picture.height, self._min_face_pixels)
        small = small_picture(picture, width, height)
        scale = np.array([picture.width / small.shape[1], picture.height / small.shape[0]], np.float32)
        if self._rotation_degrees % 180:
            scale = scale[::-1]
        if self._rotation_degrees:
            small = np.ascontiguousarray(np.rot90(small, -(self._rotation_degrees // 90)))
        found = self._detector.find(small)
        return Detections(found.boxes * np.tile(scale, 2), found.landmarks * scale, found.scores)

    def look(self, shown: TimedFrame, place: Float32) -> FaceCrop:
        """The aligned crop of the face at `place` (15,)."""
        import cv2

        frame = shown.picture
        if self._last is None or self._last[0] is not frame:
            self._last = (frame, read_picture(frame))
        upright = upright_from_stored(self._rotation_degrees, frame.width, frame.height)
        crop = warp_crop(self._last[1], compose(similarity(place[4:14].reshape(5, 2)), upright))
        half = (CROP_PIXELS // 2, CROP_PIXELS // 2)
        small: UInt8 = np.asarray(cv2.resize(crop[0], half, interpolation=cv2.INTER_AREA), np.uint8)
        return FaceCrop(encode(crop), small, blur(crop[0]))
