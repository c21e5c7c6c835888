"""The five landmarks of a face, as the detector found them."""

from __future__ import annotations

from dataclasses import dataclass

from mien.pipelines.annotators.annotator import FaceAnnotator, Rows
from mien.pipelines.data import FaceTrack, Float32, Segment

POINTS = ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")


@dataclass(kw_only=True)
class Landmarks(FaceAnnotator):
    """(T, 10) pixels of the upright picture; NaN where the face is not visible."""

    name = "landmarks"
    is_builtin = True
    inputs = ("landmarks",)
    columns = tuple(f"{point}_{axis}_pixels" for point in POINTS for axis in ("x", "y"))

    def of_face(self, face: FaceTrack, segment: Segment, rows: Rows) -> Float32:
        return face.landmarks.reshape(-1, 10)[rows]
