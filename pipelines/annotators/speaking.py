"""Does this face speak? A cheap cue, which sees mouth motion and no words.

Two aligned crops 0.12 s apart (a syllable moves a mouth in that time, and a frame that a slow film repeats
does not hide it) are brought to the same mean and contrast. Over the upper face (`REST`: brows, eyes, nose,
cheeks) a shift, a turn, a zoom, a gain and an offset explain as much as possible of their difference (least
squares on the gradients: Lucas & Kanade 1981). This explanation is subtracted everywhere, so that neither
head motion nor light remains. `motion` is by how much the mouth's remainder exceeds that of the upper face,
in units of the latter:

    motion = max(0, M - R) / (R + FLOOR)    M, R: root mean squares, in standard deviations of the face's luma

A still picture gives 0, also if it is flashed, noisy or compressed. Panned, turned and zoomed pictures give
at most 0.26 (mean over 2 s). Talking gives 0.55 to 2.5, and at least 0.35 if badly compressed (CRF 38).
Laughing moves a mouth too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from mien.pipelines.annotators.annotator import FaceAnnotator, Rows, Scalar
from mien.pipelines.data import ROW_HZ, Bool, Clip, FaceTrack, Float32, Float64, Segment, Track, UInt8
from mien.pipelines.rows import bridge, on_segment, segment_rows, spans_to_rows

if TYPE_CHECKING:
    from mien.pipelines.stage import StageContext

MOUTH = (42, 80, 86, 116)
"""x0, y0, x1, y1 in pixels of the 128 px crop: lips, and the chin that moves with them."""
REST = (32, 34, 96, 78)
FACE = (32, 32, 96, 120)
BOTH = (32, 34, 96, 116)
"""The rectangle around MOUTH and REST."""
LAG_SECONDS = 0.12
MAX_LAG_SECONDS = 0.2
FLOOR = 0.03
LIGHT_RATIO = 1.3
"""A step of the face's mean luma beyond this ratio is a flash, which may clip. Motion is unknown then."""
SMOOTHING_SECONDS = 2.0
HALF_SCORE_MOTION = 0.6
SPEAKING_THRESHOLD = 0.35
"""Of the score; it corresponds to a motion of 0.32. It keeps all our talking clips, and no still picture."""

_GRID = 32


@dataclass(kw_only=True)
class Speaking(FaceAnnotator):
    """(T, 1) score 0 to 1; 0 where nobody speaks, NaN where no motion is known nearby."""

    name = "speaking"
    is_builtin = True
    inputs = ("crops", "speech")
    columns = ("score",)
    scalars = {"speaking_score": "float"}  # noqa: RUF012 (never changed)
    measures_crops = True

    def setup(self, context: StageContext) -> None:
        self._max_pause_rows = round(context.max_pause_seconds * ROW_HZ)

    def measure(self, luma: UInt8, seconds: Float64) -> Float32:
        return mouth_motion(luma, seconds)[:, None]

    def of_faces(self, segment: Segment, rows: list[Rows]) -> list[Float32]:
        first, count = segment_rows(segment)
        speech = bridge(spans_to_rows(segment.speech, first, count), self._max_pause_rows)
        return [_score(face, speech[on_segment(face, first, count)]) for face in segment.tracks or ()]

    def summarise(self, track: Track | None, clip: Clip) -> dict[str, Scalar]:
        if track is None or not np.isfinite(track.values).any():
            return {"speaking_score": None}
        return {"speaking_score": round(float(np.nanmean(track.values[:, 0])), 4)}


def _score(face: FaceTrack, speech: Bool) -> Float32:
    return speaking_score(face.measures["speaking"][:, 0], speech)[:, None]


def mouth_motion(luma: UInt8, seconds: Float64) -> Float32:
    """(N,) motion of the mouth relative to the rest of the face, from consecutive pictures of one face.

    `luma` (N, 64, 64) uint8 is the aligned crop's luma at half size, `seconds` (N,) their times, ascending.
    NaN where there is no picture 0.06 to 0.2 s before, or the light changed too much between the two.
    """
    motion = np.full(len(luma), np.nan, np.float32)
    now, then = _pairs(np.asarray(seconds, np.float64))
    if not len(now):
        return motion
    small = _soft(_halved(luma))
    face = small[_area(FACE)]
    mean, spread = face.mean((1, 2)), face.std((1, 2))
    small = (small - mean[:, None, None]) / np.maximum(spread, 8.0)[:, None, None]
    rest, mouth = _remainders(small[then], small[now])
    light = np.maximum(mean[now], mean[then]) / np.maximum(np.minimum(mean[now], mean[then]), 1.0)
    motion[now] = np.where(light < LIGHT_RATIO, np.maximum(0.0, mouth - rest) / (rest + FLOOR), np.nan)
    return motion


def speaking_score(motion: Float32, speech: Bool) -> Float32:
    """(T,) score that this face speaks, 0 to 1, on the grid.

    `motion` (T,) NaN where unknown; `speech` (T,) whether there is speech. The score is m / (m + 0.6), where
    m is the mean of motion over 2 s (Hann window), over the rows with speech only. It is 0 where there is no
    speech, and NaN where no motion is known nearby.
    """
    if not len(motion):
        return np.zeros(0, np.float32)
    width = round(SMOOTHING_SECONDS * ROW_HZ) | 1
    window = np.hanning(width + 2)[1:-1]
    known = np.isfinite(motion) & speech
    weights = _convolve(known.astype(np.float64), window)
    sums = _convolve(np.where(known, motion, 0.0), window)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(weights > 1e-6, sums / weights, np.nan)
    score = mean / (mean + HALF_SCORE_MOTION)
    return np.where(speech, score, 0.0).astype(np.float32)


def _convolve(values: Float64, window: Float64) -> Float64:
    half = len(window) // 2
    return np.asarray(np.convolve(values, window)[half : half + len(values)], np.float64)


def _pairs(seconds: Float64) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
    """The index of each picture that has an earlier one near LAG_SECONDS before it, and of that one."""
    target = seconds - LAG_SECONDS
    after = np.searchsorted(seconds, target).clip(1, max(1, len(seconds) - 1))
    now = np.arange(len(seconds))
    if len(seconds) < 2:
        return now[:0], now[:0]
    then = np.where(seconds[after] - target < target - seconds[after - 1], after, after - 1)
    lag = seconds - seconds[then]
    good = (lag >= LAG_SECONDS / 2) & (lag <= MAX_LAG_SECONDS)
    return now[good], then[good]


def _remainders(then: Float32, now: Float32) -> tuple[Float32, Float32]:
    """(N,) root mean squares, over REST and MOUTH, of the part of `now` - `then` that head motion and light
    do not explain."""
    # The rectangle around both areas, and one more pixel on each side for the gradients.
    there = _area(BOTH)
    wide = slice(None), *(slice(side.start - 1, side.stop + 1) for side in there[1:])
    middle, difference = (then[wide] + now[wide]) / 2, (now - then)[there]
    dy = (middle[:, 2:, 1:-1] - middle[:, :-2, 1:-1]) / 2
    dx = (middle[:, 1:-1, 2:] - middle[:, 1:-1, :-2]) / 2
    middle = middle[:, 1:-1, 1:-1]
    y, x = (np.mgrid[there[1:]] / _GRID - 0.5).astype(np.float32)
    causes = np.stack([dx, dy, dx * x + dy * y, dy * x - dx * y, middle, np.ones_like(middle)], -1)
    rest, rest_seen = (
        part[_area(REST, BOTH)].reshape(len(then), -1, part.shape[-1] if part.ndim == 4 else 1)
        for part in (causes, difference)
    )
    normal = rest.transpose(0, 2, 1) @ rest + 1e-2 * np.eye(6, dtype=np.float32)
    weights = np.linalg.solve(normal, rest.transpose(0, 2, 1) @ rest_seen)
    left_rest = rest_seen[..., 0] - (rest @ weights)[..., 0]
    mouth = causes[_area(MOUTH, BOTH)].reshape(len(then), -1, 6)
    left_mouth = difference[_area(MOUTH, BOTH)].reshape(len(then), -1) - (mouth @ weights)[..., 0]
    return np.sqrt((left_rest**2).mean(1)), np.sqrt((left_mouth**2).mean(1))


def _area(
    box: tuple[int, int, int, int], within: tuple[int, int, int, int] = (0, 0, 128, 128)
) -> tuple[slice, slice, slice]:
    x0, y0, x1, y1 = (round(side * _GRID / 128) for side in box)
    left, top = (round(side * _GRID / 128) for side in within[:2])
    return slice(None), slice(y0 - top, y1 - top), slice(x0 - left, x1 - left)


def _halved(luma: UInt8) -> Float32:
    """(N, 32, 32) means of four pixels. As one tall picture, OpenCV is 25 times faster than NumPy."""
    import cv2

    tall = luma.reshape(-1, 2 * _GRID).astype(np.float32)
    size = (_GRID, len(luma) * _GRID)
    return np.asarray(cv2.resize(tall, size, interpolation=cv2.INTER_AREA), np.float32).reshape(
        -1, _GRID, _GRID
    )


def _soft(small: Float32) -> Float32:
    """A 1-2-1 blur: gradients of unblurred pictures predict motion badly."""
    wide = np.pad(small, ((0, 0), (1, 1), (1, 1)), "edge")
    tall = wide[:, :-2] + 2 * wide[:, 1:-1] + wide[:, 2:]
    return np.asarray((tall[:, :, :-2] + 2 * tall[:, :, 1:-1] + tall[:, :, 2:]) / 16, np.float32)
