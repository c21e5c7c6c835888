"""Following faces, with a detector that says what the test wrote down."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import numpy as np
import pytest

from mien.pipelines.faces.detect import Detections
from mien.pipelines.faces.geometry import TEMPLATE
from mien.pipelines.faces.rows import TimedFrame
from mien.pipelines.faces.tracks import FaceCrop, FaceTracker, TrackerConfig, Tracklet

Face = tuple[float, float, float, float]
"""x, y of the middle, size, score."""
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


def follow(
    script: Script, rows: int, *, cuts: tuple[int, ...] = (), size: int = 1000, **settings: float
) -> tuple[list[Tracklet], list[int]]:
    looked: list[int] = []

    def find(shown: TimedFrame) -> Detections:
        looked.append(shown.picture.row)
        return detections(script(shown.picture.row))

    def look(shown: TimedFrame, place: np.ndarray) -> FaceCrop:
        return FaceCrop(b"%d" % shown.picture.row, np.zeros((64, 64), np.uint8), 1.0)

    frames = (
        (TimedFrame(row / 25, Picture(row, [Plane(size)]), range(row, row + 1)), row in cuts)
        for row in range(rows)
    )
    return FaceTracker(TrackerConfig(**settings), find, look).follow(frames), looked  # type: ignore[arg-type]


def rows_of(trail: Tracklet) -> list[int]:
    return [row for rows in trail.shown for row in rows]


def steady(row: int) -> list[Face]:
    return [(100 + row, 80, 60, 0.9)]


def test_interpolates_between_detections() -> None:
    (trail,), looked = follow(steady, 41)
    assert looked == list(range(0, 41, 4))
    assert rows_of(trail) == list(range(41))
    middles = [(place[0] + place[2]) / 2 for place in trail.places]
    np.testing.assert_allclose(middles, np.arange(41) + 100, atol=1e-3)
    assert [look.jpeg for look in trail.looks] == [b"%d" % row for row in range(41)]


@pytest.mark.parametrize("first", range(8, 13))
@pytest.mark.parametrize("last", range(28, 33))
def test_the_first_and_last_frames_are_exact(first: int, last: int) -> None:
    (trail,), looked = follow(lambda row: steady(row) if first <= row <= last else [], 60)
    assert rows_of(trail) == list(range(first, last + 1))
    assert len(looked) <= 60 / 4 + 2 + 4


def test_two_who_pass_each_other_keep_their_places() -> None:
    def script(row: int) -> list[Face]:
        faces: list[Face] = [(60 + 3.0 * row, 80, 60, 0.9), (240 - 3.0 * row, 150, 60, 0.8)]
        return faces if row % 3 else faces[::-1]

    trails, _ = follow(script, 60)
    assert len(trails) == 2
    for trail in trails:
        heights = [place[1] for place in trail.places]
        assert max(heights) - min(heights) < 1
        assert len(trail.places) == 60


def test_a_fast_face_is_followed_by_looking_more_often() -> None:
    (trail,), looked = follow(lambda row: [(100 + 15 * row, 200, 60, 0.9)], 41)
    assert rows_of(trail) == list(range(41))
    assert len(looked) > 11


def test_a_cut_ends_every_track_and_both_sides_are_looked_at() -> None:
    trails, looked = follow(steady, 41, cuts=(18,))
    assert [rows_of(trail) for trail in trails] == [list(range(18)), list(range(18, 41))]
    assert {17, 18} <= set(looked)


def test_a_short_loss_leaves_a_gap_and_a_long_one_ends_the_track() -> None:
    gone = range(20, 30)
    (trail,), _ = follow(lambda row: [] if row in gone else steady(0), 60, max_lost_seconds=0.6)
    assert rows_of(trail) == [row for row in range(60) if row not in gone]
    trails, _ = follow(lambda row: [] if row in gone else steady(0), 60, max_lost_seconds=0.2)
    assert [rows_of(trail)[0] for trail in trails] == [0, 30]


def test_a_followed_face_may_score_lower_than_a_new_one() -> None:
    (trail,), _ = follow(lambda row: [(100, 80, 60, 0.9 if row < 8 else 0.4)], 40)
    assert len(trail.places) == 40
    assert follow(lambda row: [(100, 80, 60, 0.4)], 40)[0] == []


def test_small_and_short_faces_are_dropped() -> None:
    assert follow(lambda row: [(100, 80, 30, 0.9)], 40)[0] == []
    assert follow(lambda row: steady(row) if row == 8 else [], 40)[0] == []


def test_only_the_largest_are_followed() -> None:
    trails, _ = follow(lambda row: [(100.0 * n, 80, 50 + n, 0.9) for n in range(1, 13)], 20, max_faces=3)
    assert sorted(round(float(trail.places[0][2] - trail.places[0][0])) for trail in trails) == [60, 61, 62]


def test_large_pictures_are_looked_at_more_often_rather_than_held() -> None:
    (trail,), looked = follow(steady, 41, size=50 << 20, max_held_bytes=150 << 20)
    assert len(trail.places) == 41
    assert max(np.diff(looked)) <= 2
    (trail,), looked = follow(steady, 41, size=500 << 20, max_held_bytes=150 << 20)
    assert looked == list(range(41))


def test_slow_films_and_gaps_between_frames() -> None:
    frames = [
        (TimedFrame(row / 25, Picture(row), range(row, row + 1)), False)
        for row in [*range(0, 10), *range(60, 70)]
    ]

    def find(shown: TimedFrame) -> Detections:
        return detections(steady(0))

    def look(shown: TimedFrame, place: np.ndarray) -> FaceCrop:
        return FaceCrop(b"x", np.zeros((64, 64), np.uint8), 1.0)

    trails = FaceTracker(TrackerConfig(), find, look).follow(frames)
    assert [rows_of(trail)[-1] for trail in trails] in ([69], [9, 69])


def test_nothing_to_follow() -> None:
    assert follow(steady, 0) == ([], [])
    assert follow(lambda row: [], 9)[0] == []
