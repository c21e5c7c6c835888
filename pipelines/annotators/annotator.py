"""The contract of an annotator, which measures each face, or the sound, over time.

An annotator is a subclass of `FaceAnnotator` or `SoundAnnotator` in a file of its own, and one line in
`ANNOTATORS`. Its own typed fields are its configuration, `[annotators.<name>]` in mien.toml. The rest is
derived from its declaration: its track is stored as `<name>.npy`, its scalars become columns of the
index and of `mien shards stats`, its weights and settings become part of the fingerprint and of the licence
check.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt

from mien.pipelines.data import ROW_HZ, Clip, FaceTrack, Float32, Float64, ModelUse, Segment, Track, UInt8
from mien.pipelines.stage import Resources

if TYPE_CHECKING:
    from mien.pipelines.stage import StageContext

Input = Literal["crops", "landmarks", "sound", "speech", "words"]
Scalar = str | int | float | None
ScalarType = Literal["float", "double", "int32", "int64", "string"]
Rows = npt.NDArray[np.intp]


class Annotator(ABC):
    """What all annotators declare. It may be a pure function (`setup` does nothing) or open networks in
    `setup`."""

    name: str
    """The name of its track, its sample member and its configuration section."""
    inputs: tuple[Input, ...]
    """The parts of a segment that it reads."""
    columns: tuple[str, ...] = ()
    """The columns of its track. Empty if it adds only scalars."""
    scalars: Mapping[str, ScalarType] = {}
    """Columns that it adds to the index: name to Parquet type. `summarise` computes them."""
    rate_hz: float = ROW_HZ
    """The rate of its track. A face annotator gets rows of the 25 Hz grid at this rate."""

    enabled: bool = True
    """An annotator that can be switched off declares this as a field of its configuration."""
    heavy: bool = False
    """It runs in the pool `annotate`. A light one runs within the stage `align` and costs no process."""
    resources: Resources = Resources()
    """What a worker of the pool `annotate` needs."""
    measures_crops: bool = False
    """`measure` is called for each stretch of a face, while the crops are uncompressed."""

    models: tuple[ModelUse, ...] = ()
    """Provenance; an annotator that opens a network sets it in `setup`."""

    is_builtin: bool = False
    """Its columns are part of the sample's schema, so they are written for every corpus."""

    @property
    def needs_face(self) -> bool:
        return not {"crops", "landmarks"}.isdisjoint(self.inputs)

    @property
    def uses_gpu(self) -> bool:
        return getattr(self, "device", "cpu") == "cuda"

    def weights(self) -> tuple[str, ...]:
        """Names of the weights that `setup` opens."""
        return ()

    def fingerprint_material(self) -> dict[str, Any] | None:
        """The settings that its output depends on. None: the schema's version stands for them."""
        if self.is_builtin:
            return None
        fields: dict[str, dataclasses.Field[Any]] = getattr(self, "__dataclass_fields__", {})
        return {"columns": self.columns, "scalars": self.scalars} | {
            name: getattr(self, name) for name in fields if name != "threads"
        }

    def setup(self, context: StageContext) -> None:  # noqa: B027 (optional)
        """Loads weights, opens sessions and verifies their provider; once per worker, before any call."""

    def close(self) -> None:  # noqa: B027 (optional)
        """Releases what `setup` opened."""

    def measure(self, luma: UInt8, seconds: Float64) -> Float32:
        """(N, K) measurements of consecutive pictures of one face, NaN where unknown.

        `luma` (N, 64, 64) uint8 is the aligned crop's luma at half size, `seconds` (N,) float64 are their
        times, ascending. This is called in the stage `faces`, without `setup`; the result is in
        `FaceTrack.measures[name]` when the annotator itself is called.
        """
        raise NotImplementedError

    @abstractmethod
    def __call__(self, segment: Segment) -> Segment:
        """`segment` with this annotator's tracks."""

    def summarise(self, track: Track | None, clip: Clip) -> dict[str, Scalar]:
        """The values of `scalars` for a clip. `track` is cut to the clip and on its clock; None if there is
        none. A pure function: it runs in the worker of `align`, without `setup`."""
        del track, clip
        return dict.fromkeys(self.scalars)


class FaceAnnotator(Annotator):
    """Yields one track for each face."""

    def __call__(self, segment: Segment) -> Segment:
        faces = segment.tracks or ()
        if not faces:
            return segment
        values = self.of_faces(segment, [self._rows(face) for face in faces])
        tracked = tuple(
            replace(face, tracks={**face.tracks, self.name: self._track(face, found)})
            for face, found in zip(faces, values, strict=True)
        )
        return replace(segment, tracks=tracked, models=segment.models + self.models)

    def of_faces(self, segment: Segment, rows: list[Rows]) -> list[Float32]:
        """For each face of the segment, (len(rows), D) values at those of its rows. Overridden where the
        faces of a segment must be seen together."""
        return [
            self.of_face(face, segment, here) for face, here in zip(segment.tracks or (), rows, strict=True)
        ]

    def of_face(self, face: FaceTrack, segment: Segment, rows: Rows) -> Float32:
        """(len(rows), D) values at `rows` of the face, NaN where unknown."""
        raise NotImplementedError

    def _rows(self, face: FaceTrack) -> Rows:
        count = math.ceil(face.visible.size * self.rate_hz / ROW_HZ)
        return (
            np.round(np.arange(count) * ROW_HZ / self.rate_hz).astype(np.intp).clip(0, face.visible.size - 1)
        )

    def _track(self, face: FaceTrack, values: Float32) -> Track:
        rows = self._rows(face)
        if values.shape != (rows.size, len(self.columns)):
            raise ValueError(
                f"annotator {self.name}: expected {(rows.size, len(self.columns))} values, got {values.shape}"
            )
        times = (face.first_row + rows) / ROW_HZ
        return Track(name=self.name, times_seconds=times, values=values, columns=self.columns)


class SoundAnnotator(Annotator):
    """Yields one track for the sound of a segment; every clip of the segment gets its part."""

    def __call__(self, segment: Segment) -> Segment:
        if segment.sound is None:
            return segment
        times, values = self.of_sound(segment)
        track = Track(name=self.name, times_seconds=times, values=values, columns=self.columns)
        return replace(
            segment,
            sound_tracks={**segment.sound_tracks, self.name: track},
            models=segment.models + self.models,
        )

    @abstractmethod
    def of_sound(self, segment: Segment) -> tuple[Float64, Float32]:
        """(T,) seconds on the file's clock, ascending, and (T, D) values, NaN where unknown."""
