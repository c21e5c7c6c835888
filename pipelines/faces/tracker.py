"""Tracking faces from detection to detection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from mien.pipelines.data import Float32
from mien.pipelines.faces.crop import FaceCrop
from mien.pipelines.faces.detect import Detections
from mien.pipelines.faces.geometry import face_pixels, overlap
from mien.pipelines.faces.grid_frames import TimedFrame

Detect = Callable[[TimedFrame], Detections]
Crop = Callable[[TimedFrame, Float32], FaceCrop]


@dataclass(slots=True)
class Tracklet:
    """One face through one shot: parallel lists with an element for each frame in which it is visible."""

    rows: list[range] = field(default_factory=list)
    """The grid rows that the frame represents."""
    seconds: list[float] = field(default_factory=list)
    faces: list[Float32] = field(default_factory=list)
    """(15,) box, landmarks, score: see `face_vectors`."""
    crops: list[FaceCrop] = field(default_factory=list)
    detection_count: int = 0

    def add(self, frame: TimedFrame, face: Float32, crop: FaceCrop) -> None:
        self.rows.append(frame.rows)
        self.seconds.append(frame.seconds)
        self.faces.append(face)
        self.crops.append(crop)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerConfig:
    """How faces are tracked. Seconds are media time."""

    detect_every_seconds: float = 0.16
    score_threshold: float = 0.6
    """A track starts with at least this score; `keep_threshold` is enough to continue it (ByteTrack, Zhang
    2022)."""
    keep_threshold: float = 0.3
    min_face_pixels: float = 40.0
    max_faces: int = 8
    """At the same time; the largest are tracked."""
    max_lost_seconds: float = 0.6
    min_detections: int = 3
    max_held_bytes: int = 256 << 20
    """Decoded frames held between two detections. With larger frames, detection runs more often."""


@dataclass(frozen=True, slots=True)
class _Match:
    matched: dict[int, int]
    """Tracklet to row of the detections."""
    appeared: list[int]
    """Rows of the detections that are new faces, the largest first."""
    disappeared: list[int]
    """Tracklets that were present at the last detection and are missing now."""


def face_vectors(detections: Detections) -> Float32:
    """(N, 15): box 0:4, landmarks 4:14, score 14."""
    count = len(detections.scores)
    return np.hstack(
        [detections.boxes, detections.landmarks.reshape(count, 10), detections.scores[:, None]]
    ).astype(np.float32)


class FaceTracker:
    """Tracks the faces of one span of video. Call `track` once per instance."""

    def __init__(self, config: TrackerConfig, detect: Detect, crop: Crop) -> None:
        self._config, self._detect, self._crop = config, detect, crop
        self._tracklets: list[Tracklet] = []
        self._live: dict[int, Float32] = {}
        self._lost: dict[int, tuple[float, Float32]] = {}

    def track(self, frames: Iterable[tuple[TimedFrame, bool]]) -> list[Tracklet]:
        """The tracklets in `frames` (each with whether a shot starts at it), in order of appearance."""
        span: list[TimedFrame] = []  # the frame of the last detection, then the frames after it
        held_bytes = 0
        for frame, new_shot in frames:
            if new_shot and span:
                self._advance(span)
                span, self._live, self._lost = [], {}, {}
            size = picture_bytes(frame)
            if not span:
                span, held_bytes = [frame], size
                detected = face_vectors(self._detect(frame))
                self._update(frame, self._match(frame.seconds, detected), detected)
                continue
            span.append(frame)
            held_bytes += size
            due = frame.seconds - span[0].seconds >= self._config.detect_every_seconds - 0.01
            if due or held_bytes + size > self._config.max_held_bytes:
                self._advance(span)
                span, held_bytes = [frame], size
        self._advance(span)
        return [one for one in self._tracklets if one.detection_count >= self._config.min_detections]

    def _advance(self, span: list[TimedFrame]) -> None:
        if len(span) > 1:
            self._interpolate(span, face_vectors(self._detect(span[-1])))

    def _interpolate(self, span: list[TimedFrame], detected: Float32) -> None:
        """Fills in the frames between the detection at span[0] and the one at span[-1].

        If a face appears or disappears in between, or moved too far to be matched, the middle frame is
        searched too. The first and last frame of each face are therefore exact.
        """
        match = self._match(span[-1].seconds, detected)
        reappeared = any(tracklet not in self._live for tracklet in match.matched)
        if (match.appeared or match.disappeared or reappeared) and len(span) > 2:
            middle = len(span) // 2
            self._interpolate(span[: middle + 1], face_vectors(self._detect(span[middle])))
            self._interpolate(span[middle:], detected)
            return
        start, end = span[0].seconds, span[-1].seconds
        for tracklet, number in match.matched.items():
            if tracklet in self._live:
                first, last = self._live[tracklet], detected[number]
                for frame in span[1:-1]:
                    share = (frame.seconds - start) / (end - start)
                    self._add(tracklet, frame, first + (last - first) * np.float32(share))
        self._update(span[-1], match, detected)

    def _match(self, seconds: float, detected: Float32) -> _Match:
        from scipy.optimize import linear_sum_assignment

        config = self._config
        self._lost = {k: v for k, v in self._lost.items() if seconds - v[0] <= config.max_lost_seconds}
        sizes = face_pixels(detected[:, :4])
        candidates = [*self._live, *self._lost]
        matched: dict[int, int] = {}
        if candidates and len(detected):
            known = np.stack([*self._live.values(), *(face for _, face in self._lost.values())])
            fit = affinity(known, detected)
            fit[:, sizes < 0.8 * config.min_face_pixels] = 0
            for row, column in zip(*linear_sum_assignment(fit, maximize=True), strict=True):
                if fit[row, column] > 0:
                    matched[candidates[row]] = int(column)
        new = (detected[:, 14] >= config.score_threshold) & (sizes >= config.min_face_pixels)
        new[list(matched.values())] = False
        appeared = sorted(np.flatnonzero(new).tolist(), key=lambda number: -float(sizes[number]))
        room = max(0, config.max_faces - len(matched))
        disappeared = [tracklet for tracklet in self._live if tracklet not in matched]
        return _Match(matched, appeared[:room], disappeared)

    def _update(self, frame: TimedFrame, match: _Match, detected: Float32) -> None:
        """Makes the detection at `frame` the current state."""
        for tracklet in match.disappeared:
            self._lost[tracklet] = (frame.seconds, self._live[tracklet])
        present = dict(match.matched)
        for number in match.appeared:
            present[len(self._tracklets)] = number
            self._tracklets.append(Tracklet())
        self._live = {}
        for tracklet, number in present.items():
            self._lost.pop(tracklet, None)
            self._live[tracklet] = detected[number]
            self._tracklets[tracklet].detection_count += 1
            self._add(tracklet, frame, detected[number])

    def _add(self, tracklet: int, frame: TimedFrame, face: Float32) -> None:
        self._tracklets[tracklet].add(frame, face, self._crop(frame, face))


def affinity(known: Float32, detected: Float32) -> Float32:
    """(N, M) how well each of `detected` continues each of `known`: 0 means not at all, 2 the same place.

    The sum of box overlap and landmark proximity, the latter in units of the face size.
    """
    sizes = np.maximum(face_pixels(known[:, :4])[:, None], face_pixels(detected[:, :4])[None, :])
    ratio = np.minimum(
        face_pixels(known[:, :4])[:, None], face_pixels(detected[:, :4])[None, :]
    ) / np.maximum(sizes, 1e-3)
    distance = np.linalg.norm(
        (known[:, None, 4:14] - detected[None, :, 4:14]).reshape(len(known), len(detected), 5, 2), axis=-1
    )
    proximity = np.clip(1 - distance.mean(-1) / np.maximum(sizes, 1e-3) / 0.6, 0, 1)
    fit = overlap(known[:, :4], detected[:, :4]) + proximity
    fit[(ratio < 0.5) | (proximity <= 0)] = 0
    return np.asarray(fit, np.float32)


def picture_bytes(frame: TimedFrame) -> int:
    return sum(plane.buffer_size for plane in frame.picture.planes)
