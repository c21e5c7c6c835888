"""Which frame represents which row of the 25 Hz grid."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.pipelines.data import ROW_HZ
from mien.pipelines.faces.grid_frames import merge_spans, rows_in, sample_rows


@dataclass(frozen=True)
class Frame:
    seconds: float
    picture: object = None


def seconds_by_row(times: list[float], rows: range, tolerance: float = 0.05) -> dict[int, float]:
    return {
        row: frame.seconds for frame in sample_rows(map(Frame, times), rows, tolerance) for row in frame.rows
    }


@given(
    st.lists(st.integers(0, 3000), unique=True, max_size=60).map(sorted),
    st.integers(0, 30),
    st.integers(0, 60),
    st.sampled_from([0.02, 0.05, 0.1]),
)
def test_each_row_gets_the_nearest_frame(millis: list[int], first: int, count: int, tolerance: float) -> None:
    rows = range(first, first + count)
    chosen = seconds_by_row([ms / 1000 for ms in millis], rows, tolerance)
    for row in rows:
        at = row * 1000 // ROW_HZ
        _, nearest = min(((abs(ms - at), ms) for ms in millis), default=(0, None))
        reach = tolerance * 1000
        if nearest is not None and len(millis) > 1:
            if nearest == millis[0] > at:
                reach = min(reach, max(20, (millis[1] - millis[0]) / 2))
            if nearest == millis[-1] < at:
                reach = min(reach, max(20, (millis[-1] - millis[-2]) / 2))
        if nearest is None or abs(nearest - at) > reach:
            assert row not in chosen
        else:
            assert chosen[row] == nearest / 1000


@pytest.mark.parametrize(("fps", "distinct"), [(60, 50), (30, 50), (25, 50), (24, 48), (15, 30), (12, 24)])
def test_frame_rates(fps: int, distinct: int) -> None:
    frames = list(sample_rows([Frame(n / fps) for n in range(3 * fps)], range(50), 0.05))
    assert sum(len(frame.rows) for frame in frames) == 50
    assert abs(len(frames) - distinct) <= 1


def test_five_frames_a_second_leave_rows_without_frame() -> None:
    assert sorted(seconds_by_row([0.0, 0.2, 0.4], range(11))) == [0, 1, 4, 5, 6, 9, 10]


def test_no_frames_before_start_or_after_end_of_video() -> None:
    chosen = seconds_by_row([0.37 + n * 0.04 for n in range(10)], range(30))
    assert (min(chosen), max(chosen)) == (9, 18)  # 0.36 to 0.72 s; the last frame is at 0.73 s


def test_skips_frames_whose_time_goes_backward() -> None:
    assert seconds_by_row([0.0, 0.04, 0.02, 0.08], range(3)) == {0: 0.0, 1: 0.04, 2: 0.08}


def test_stops_reading_when_all_rows_have_frames() -> None:
    frames = iter([Frame(n / 25) for n in range(100)])
    list(sample_rows(frames, range(10), 0.05))
    assert next(frames).seconds < 0.5


def test_row_ranges_are_half_open() -> None:
    assert rows_in((0.0, 0.08)) == range(2)
    assert rows_in((0.04, 0.041)) == range(1, 2)
    assert rows_in((0.05, 0.07)) == range(2, 2)
    assert rows_in((59.96, 60.0)) == range(1499, 1500)


def test_merge_spans_pads_clips_and_merges() -> None:
    spans = [(5.0, 6.0), (1.0, 2.0), (2.5, 3.0), (9.5, 10.0)]
    merged = merge_spans(spans, 0.3, (0.9, 10.0))
    assert [round(side, 6) for span in merged for side in span] == [0.9, 3.3, 4.7, 6.3, 9.2, 10.0]
    assert merge_spans([], 0.3, (0.0, 1.0)) == []
