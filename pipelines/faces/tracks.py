"""Following faces from detection to detection."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np

from mien.pipelines.data import Float32, UInt8
from mien.pipelines.faces.detect import Detections
from mien.pipelines.faces.geometry import face_pixels, overlap
from mien.pipelines.faces.rows import TimedFrame

Find = Callable[[TimedFrame], Detections]
Cut = Callable[[TimedFrame, Float32], "FaceCrop"]


@dataclass(frozen=True, slots=True)
class FaceCrop:
    """How one face looks in one frame."""

    jpeg: bytes
    luma: UInt8
    """(64, 64) of the crop, for what is measured over time."""
    blur: float


@dataclass(slots=True)
class Tracklet:
    """A face through one shot: parallel lists, an element for each frame in which it is visible."""

    shown: list[range] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    places: list[Float32] = field(default_factory=list)
    """(15,) box, landmarks, score: see `places`."""
    looks: list[FaceCrop] = field(default_factory=list)
    detections: int = 0

    def add(self, shown: TimedFrame, place: Float32, look: FaceCrop) -> None:
        self.shown.append(shown.rows)
        self.seconds.append(shown.seconds)
        self.places.append(place)
        self.looks.append(look)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrackerConfig:
    """How faces are followed. Seconds are of media time."""

    detect_every_seconds: float = 0.16
    score_threshold: float = 0.6
    """A face begins with at least this score; then `keep_threshold` is enough (ByteTrack, Zhang 2022)."""
    keep_threshold: float = 0.3
    min_face_pixels: float = 40.0
    max_faces: int = 8
    """At once; the largest are followed."""
    max_lost_seconds: float = 0.6
    min_detections: int = 3
    max_held_bytes: int = 256 << 20
    """Of decoded frames between two detections; with larger pictures one looks more often."""


@dataclass(frozen=True, slots=True)
class _Match:
    same: dict[int, int]
    """Trail to row of the detections."""
    came: list[int]
    """Rows that are new faces, the largest first."""
    went: list[int]
    """Trails that were seen at the last detection and are not now."""


def places(found: Detections) -> Float32:
    """(N, 15): box 0:4, landmarks 4:14, score 14."""
    count = len(found.scores)
    return np.hstack([found.boxes, found.landmarks.reshape(count, 10), found.scores[:, None]]).astype(
        np.float32
    )


class FaceTracker:
    """Follows the faces of one span of film. Use `follow` once for each span."""

    def __init__(self, settings: TrackerConfig, find: Find, cut: Cut) -> None:
        self._settings, self._find, self._cut = settings, find, cut
        self._trails: list[Tracklet] = []
        self._live: dict[int, Float32] = {}
        self._lost: dict[int, tuple[float, Float32]] = {}

    def follow(self, frames: Iterable[tuple[TimedFrame, bool]]) -> list[Tracklet]:
        """The trails through `frames` (each with whether a shot begins at it), in order of appearance."""
        span: list[TimedFrame] = []  # the frame of the last detection, then those after it
        held_bytes = 0
        for shown, new_shot in frames:
            if new_shot and span:
                self._advance(span)
                span, self._live, self._lost = [], {}, {}
            size = picture_bytes(shown)
            if not span:
                span, held_bytes = [shown], size
                found = places(self._find(shown))
                self._settle(shown, self._match(shown.seconds, found), found)
                continue
            span.append(shown)
            held_bytes += size
            due = shown.seconds - span[0].seconds >= self._settings.detect_every_seconds - 0.01
            if due or held_bytes + size > self._settings.max_held_bytes:
                self._advance(span)
                span, held_bytes = [shown], size
        self._advance(span)
        return [trail for trail in self._trails if trail.detections >= self._settings.min_detections]

    def _advance(self, span: list[TimedFrame]) -> None:
        if len(span) > 1:
            self._between(span, places(self._find(span[-1])))

    def _between(self, span: list[TimedFrame], found: Float32) -> None:
        """From the detection at span[0] to that at span[-1]. Where a face comes or goes in between, or moved
        too far to be matched, looks in the middle too: its first and last frame are then exact."""
        match = self._match(span[-1].seconds, found)
        back = any(trail not in self._live for trail in match.same)
        if (match.came or match.went or back) and len(span) > 2:
            middle = len(span) // 2
            self._between(span[: middle + 1], places(self._find(span[middle])))
            self._between(span[middle:], found)
            return
        start, end = span[0].seconds, span[-1].seconds
        for trail, number in match.same.items():
            if trail in self._live:
                first, last = self._live[trail], found[number]
                for shown in span[1:-1]:
                    share = (shown.seconds - start) / (end - start)
                    self._add(trail, shown, first + (last - first) * np.float32(share))
        self._settle(span[-1], match, found)

    def _match(self, seconds: float, found: Float32) -> _Match:
        from scipy.optimize import linear_sum_assignment

        settings = self._settings
        self._lost = {k: v for k, v in self._lost.items() if seconds - v[0] <= settings.max_lost_seconds}
        sizes = face_pixels(found[:, :4])
        names = [*self._live, *self._lost]
        same: dict[int, int] = {}
        if names and len(found):
            known = np.stack([*self._live.values(), *(place for _, place in self._lost.values())])
            fit = affinity(known, found)
            fit[:, sizes < 0.8 * settings.min_face_pixels] = 0
            for row, column in zip(*linear_sum_assignment(fit, maximize=True), strict=True):
                if fit[row, column] > 0:
                    same[names[row]] = int(column)
        new = (found[:, 14] >= settings.score_threshold) & (sizes >= settings.min_face_pixels)
        new[list(same.values())] = False
        came = sorted(np.flatnonzero(new).tolist(), key=lambda number: -float(sizes[number]))
        room = max(0, settings.max_faces - len(same))
        return _Match(same, came[:room], [name for name in self._live if name not in same])

    def _settle(self, shown: TimedFrame, match: _Match, found: Float32) -> None:
        """Takes the detection at `shown` as the state of things."""
        for name in match.went:
            self._lost[name] = (shown.seconds, self._live[name])
        now = dict(match.same)
        for number in match.came:
            now[len(self._trails)] = number
            self._trails.append(Tracklet())
        self._live = {}
        for name, number in now.items():
            self._lost.pop(name, None)
            self._live[name] = found[number]
            self._trails[name].detections += 1
            self._add(name, shown, found[number])

    def _add(self, trail: int, shown: TimedFrame, place: Float32) -> None:
        self._trails[trail].add(shown, place, self._cut(shown, place))


def affinity(known: Float32, found: Float32) -> Float32:
    """(N, M) how well each of `found` continues each of `known`: 0 is not at all, 2 is in the same place.

    Overlap of the boxes, and nearness of the landmarks in units of the face.
    """
    sizes = np.maximum(face_pixels(known[:, :4])[:, None], face_pixels(found[:, :4])[None, :])
    ratio = np.minimum(face_pixels(known[:, :4])[:, None], face_pixels(found[:, :4])[None, :]) / np.maximum(
        sizes, 1e-3
    )
    apart = np.linalg.norm(
        (known[:, None, 4:14] - found[None, :, 4:14]).reshape(len(known), len(found), 5, 2), axis=-1
    )
    near = np.clip(1 - apart.mean(-1) / np.maximum(sizes, 1e-3) / 0.6, 0, 1)
    fit = overlap(known[:, :4], found[:, :4]) + near
    fit[(ratio < 0.5) | (near <= 0)] = 0
    return np.asarray(fit, np.float32)


def picture_bytes(shown: TimedFrame) -> int:
    return sum(plane.buffer_size for plane in shown.picture.planes)
