"""The stage `faces`: who is to be seen when, where, and how it looks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from ingest.errors import ConfigError
from pipelines.data import ROW_HZ, Float32, ModelUse, Segment, Span
from pipelines.faces.assemble import face_track
from pipelines.faces.crop import Picture, blur, encode, read_picture, warp_crop
from pipelines.faces.cuts import find_cuts
from pipelines.faces.detect import DETECTORS, Detections, Detector, detection_size
from pipelines.faces.geometry import compose, similarity, upright_from_stored
from pipelines.faces.identity import Identity, group
from pipelines.faces.rows import Shown, merge_spans, rows_of, shown_frames
from pipelines.faces.sessions import Device
from pipelines.faces.tracks import Follower, Following, Look, Trail
from pipelines.stage import Resources


@dataclass(slots=True, kw_only=True)
class Faces:
    """Finds and follows the faces of a segment: yields it with `tracks` and `models` set.

    Raises MediaError where the film cannot be decoded; `setup` raises ProviderError and WeightsError.
    """

    detector: Literal["scrfd_500m", "yunet_2023mar"] = "scrfd_500m"
    device: Device = "cpu"
    identity: bool = True
    """Join tracks of one person by ArcFace; its weights are for research only."""
    look_at: Literal["speech", "all"] = "speech"
    """"speech": only what is spoken, and `pad_seconds` around it, is decoded and searched."""
    pad_seconds: float = 0.3
    detect_every_seconds: float = 0.2
    score_threshold: float = 0.5
    keep_threshold: float = 0.3
    min_face_pixels: float = 40.0
    max_faces: int = 8
    max_lost_seconds: float = 0.6
    min_detections: int = 3
    max_offset_seconds: float = 0.05
    """A row without a frame so near in time is not visible."""
    same_person_cosine: float = 0.4
    threads: int = 1
    resources: Resources = field(default_factory=Resources)
    name: str = field(default="faces", init=False)
    _detector: Detector | None = field(default=None, init=False, repr=False)
    _identity: Identity | None = field(default=None, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise ConfigError(f"faces: no detector {self.detector!r}: choose one of {', '.join(DETECTORS)}")
        if self.look_at not in ("speech", "all"):
            raise ConfigError(f"faces: look_at is 'speech' or 'all', got {self.look_at!r}: change it")

    def setup(self) -> None:
        import cv2

        from pipelines.weights import locate

        cv2.setNumThreads(self.threads)
        self._detector = DETECTORS[self.detector](
            self.detector,
            locate(self.detector),
            device=self.device,
            threads=self.threads,
            threshold=self.keep_threshold,
        )
        if self.identity:
            name = "arcface_w600k_mbf"
            self._identity = Identity(name, locate(name), device=self.device, threads=self.threads)

    def __call__(self, segment: Segment) -> Iterable[Segment]:
        if self._detector is None:
            self.setup()
        assert self._detector is not None
        if segment.media.video is None:
            yield replace(segment, tracks=())
            return
        trails: list[Trail] = []
        whole = (segment.start, segment.end)
        wanted = segment.speech if self.look_at == "speech" else [whole]
        for span in merge_spans(wanted, self.pad_seconds, whole):
            trails += self._follow(segment, span)
        embeddings = None if self._identity is None else [self._identity.embed(trail) for trail in trails]
        groups = group(trails, embeddings, self.same_person_cosine)
        tracks = tuple(
            face_track(number, [trails[at] for at in members], embeddings and [embeddings[at] for at in members])
            for number, members in enumerate(groups)
        )
        yield replace(segment, tracks=tracks, models=segment.models + self.models)

    @property
    def models(self) -> tuple[ModelUse, ...]:
        return tuple(model.use for model in (self._detector, self._identity) if model is not None)

    def _follow(self, segment: Segment, span: Span) -> list[Trail]:
        from pipelines.decode.frames import FrameReader

        assert segment.media.video is not None
        rows = rows_of(span)
        if not rows:
            return []
        slack = self.max_offset_seconds + 1e-3
        frames = FrameReader(segment.media, threads=self.threads).frames(
            rows.start / ROW_HZ - slack, (rows.stop - 1) / ROW_HZ + slack
        )
        settings = Following(
            detect_every_seconds=self.detect_every_seconds,
            score_threshold=self.score_threshold,
            keep_threshold=self.keep_threshold,
            min_face_pixels=self.min_face_pixels,
            max_faces=self.max_faces,
            max_lost_seconds=self.max_lost_seconds,
            min_detections=self.min_detections,
        )
        looker = _Looker(self._find, segment.media.video.rotation_degrees)
        shown = shown_frames(frames, rows, self.max_offset_seconds)
        return Follower(settings, looker.find, looker.look).follow(find_cuts(shown))

    def _find(self, picture: Any, rotation_degrees: int) -> Detections:
        """Faces of an av.VideoFrame, in pixels of the upright picture."""
        assert self._detector is not None
        width, height = detection_size(picture.width, picture.height, self.min_face_pixels)
        small = picture.reformat(width, height, format="bgr24", threads=1).to_ndarray()
        scale = np.array([picture.width / width, picture.height / height], np.float32)
        if rotation_degrees % 180:
            scale = scale[::-1]
        if rotation_degrees:
            small = np.ascontiguousarray(np.rot90(small, -(rotation_degrees // 90)))
        found = self._detector.find(small)
        return Detections(found.boxes * np.tile(scale, 2), found.landmarks * scale, found.scores)


class _Looker:
    """Finds faces in shown frames, and cuts them out; keeps the planes of the frame that it looked at last."""

    def __init__(self, find: Any, rotation_degrees: int) -> None:
        self._find, self._rotation = find, rotation_degrees
        self._last: tuple[Any, Picture] | None = None

    def find(self, shown: Shown) -> Detections:
        found: Detections = self._find(shown.picture, self._rotation)
        return found

    def look(self, shown: Shown, place: Float32) -> Look:
        import cv2

        frame = shown.picture
        if self._last is None or self._last[0] is not frame:
            self._last = (frame, read_picture(frame))
        upright = upright_from_stored(self._rotation, frame.width, frame.height)
        crop = warp_crop(self._last[1], compose(similarity(place[4:14].reshape(5, 2)), upright))
        small = cv2.resize(crop[0], (64, 64), interpolation=cv2.INTER_AREA)
        return Look(encode(crop), small, blur(crop[0]))
