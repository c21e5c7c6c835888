"""The face tracker, with a detector that returns scripted faces."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

from mien.pipelines.faces.crop import FaceCrop
from mien.pipelines.faces.detect import Detections
from mien.pipelines.faces.geometry import TEMPLATE
from mien.pipelines.faces.grid_frames import TimedFrame
from mien.pipelines.faces.tracker import FaceTracker, TrackerConfig, Tracklet

Face = tuple[float, float, float, float]
"""x and y of the centre, size, score."""
Script = Callable[[int], Iterable[Face]]


@dataclass
class Plane:
    buffer_size: int


@dataclass
class Picture:
    row: int
    planes: list[Plane] = field(default_factory=lambda: [Plane(1000)])


def detections(faces: Iterable[Face]) -> Detections:
    listed = list(faces)
    shape = (TEMPLATE - TEMPLATE.mean(0)) / 70
    return Detections(
        np.array([[x - s / 2, y - s / 2, x + s / 2, y + s / 2] for x, y, s, _ in listed], np.float32).reshape(
            -1, 4
        ),
        np.array([shape * s + (x, y) for x, y, s, _ in listed], np.float32).reshape(-1, 5, 2),
        np.array([score for *_, score in listed], np.float32),
    )


def track(
    script: Script, rows: int, *, cuts: tuple[int, ...] = (), size: int = 1000, **config: float
) -> tuple[list[Tracklet], list[int]]:
    """The tracklets, and the rows in which faces were detected."""
    searched: list[int] = []

    def detect(frame: TimedFrame) -> Detections:
        searched.append(frame.picture.row)
        return detections(script(frame.picture.row))

    def crop(frame: TimedFrame, face: np.ndarray) -> FaceCrop:
        return FaceCrop(b"%d" % frame.picture.row, np.zeros((64, 64), np.uint8), 1.0)

    frames = (
        (TimedFrame(row / 25, Picture(row, [Plane(size)]), range(row, row + 1)), row in cuts)
        for row in range(rows)
    )
    return FaceTracker(TrackerConfig(**config), detect, crop).track(frames), searched  # type: ignore[arg-type]


def rows_of(tracklet: Tracklet) -> list[int]:
    return [row for rows in tracklet.rows for row in rows]


def steady(row: int) -> list[Face]:
    return [(100 + row, 80, 60, 0.9)]


def test_interpolates_between_detections() -> None:
    (tracklet,), searched = track(steady, 41)
    assert searched == list(range(0, 41, 4))
    assert rows_of(tracklet) == list(range(41))
    centres = [(face[0] + face[2]) / 2 for face in tracklet.faces]
    np.testing.assert_allclose(centres, np.arange(41) + 100, atol=1e-3)
    assert [crop.jpeg for crop in tracklet.crops] == [b"%d" % row for row in range(41)]


@pytest.mark.parametrize("first", range(8, 13))
@pytest.mark.parametrize("last", range(28, 33))
def test_first_and_last_frames_are_exact(first: int, last: int) -> None:
    (tracklet,), searched = track(lambda row: steady(row) if first <= row <= last else [], 60)
    assert rows_of(tracklet) == list(range(first, last + 1))
    assert len(searched) <= 60 / 4 + 2 + 4


def test_keeps_two_crossing_faces_apart() -> None:
    def script(row: int) -> list[Face]:
        faces: list[Face] = [(60 + 3.0 * row, 80, 60, 0.9), (240 - 3.0 * row, 150, 60, 0.8)]
        return faces if row % 3 else faces[::-1]

    tracklets, _ = track(script, 60)
    assert len(tracklets) == 2
    for tracklet in tracklets:
        heights = [face[1] for face in tracklet.faces]
        assert max(heights) - min(heights) < 1
        assert len(tracklet.faces) == 60


def test_detects_fast_faces_more_often() -> None:
    (tracklet,), searched = track(lambda row: [(100 + 15 * row, 200, 60, 0.9)], 41)
    assert rows_of(tracklet) == list(range(41))
    assert len(searched) > 11


def test_cut_ends_tracklets_and_both_sides_are_searched() -> None:
    tracklets, searched = track(steady, 41, cuts=(18,))
    assert [rows_of(tracklet) for tracklet in tracklets] == [list(range(18)), list(range(18, 41))]
    assert {17, 18} <= set(searched)


def test_short_loss_leaves_gap_and_long_loss_ends_tracklet() -> None:
    gone = range(20, 30)
    (tracklet,), _ = track(lambda row: [] if row in gone else steady(0), 60, max_lost_seconds=0.6)
    assert rows_of(tracklet) == [row for row in range(60) if row not in gone]
    tracklets, _ = track(lambda row: [] if row in gone else steady(0), 60, max_lost_seconds=0.2)
    assert [rows_of(tracklet)[0] for tracklet in tracklets] == [0, 30]


def test_tracked_face_may_score_lower_than_new_face() -> None:
    (tracklet,), _ = track(lambda row: [(100, 80, 60, 0.9 if row < 8 else 0.4)], 40)
    assert len(tracklet.faces) == 40
    assert track(lambda row: [(100, 80, 60, 0.4)], 40)[0] == []


def test_drops_small_and_short_faces() -> None:
    assert track(lambda row: [(100, 80, 30, 0.9)], 40)[0] == []
    assert track(lambda row: steady(row) if row == 8 else [], 40)[0] == []


def test_tracks_only_the_largest_faces() -> None:
    tracklets, _ = track(lambda row: [(100.0 * n, 80, 50 + n, 0.9) for n in range(1, 13)], 20, max_faces=3)
    widths = [round(float(tracklet.faces[0][2] - tracklet.faces[0][0])) for tracklet in tracklets]
    assert sorted(widths) == [60, 61, 62]


def test_detects_more_often_instead_of_holding_large_frames() -> None:
    (tracklet,), searched = track(steady, 41, size=50 << 20, max_held_bytes=150 << 20)
    assert len(tracklet.faces) == 41
    assert max(np.diff(searched)) <= 2
    (tracklet,), searched = track(steady, 41, size=500 << 20, max_held_bytes=150 << 20)
    assert searched == list(range(41))


def test_gap_between_frames() -> None:
    frames = [
        (TimedFrame(row / 25, Picture(row), range(row, row + 1)), False)
        for row in [*range(0, 10), *range(60, 70)]
    ]

    def detect(frame: TimedFrame) -> Detections:
        return detections(steady(0))

    def crop(frame: TimedFrame, face: np.ndarray) -> FaceCrop:
        return FaceCrop(b"x", np.zeros((64, 64), np.uint8), 1.0)

    tracklets = FaceTracker(TrackerConfig(), detect, crop).track(frames)
    assert [rows_of(tracklet)[-1] for tracklet in tracklets] in ([69], [9, 69])


def test_no_frames_and_no_faces() -> None:
    assert track(steady, 0) == ([], [])
    assert track(lambda row: [], 9)[0] == []
