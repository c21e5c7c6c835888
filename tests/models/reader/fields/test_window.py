"""Positions and lengths of windows."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.ingest.errors import UsageError
from mien.models.reader.fields import MfccField, Window
from mien.models.reader.fields.window import Cut, place


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**64 - 1))
def test_window_is_inside_and_depends_on_seed(length: int, rows: int, seed: int) -> None:
    window = Window.of_frames(length)
    cut = place(window, seed=seed, rows=rows)
    assert cut.first_row >= 0
    assert cut.first_row + cut.rows <= rows
    assert cut.rows == min(length, rows)
    assert place(window, seed=seed, rows=rows) == cut


def test_window_positions_are_uniform() -> None:
    window = Window.of_frames(16)
    found = Counter(place(window, seed=seed, rows=25).first_row for seed in range(10_000))
    assert sorted(found) == list(range(10))
    assert max(found.values()) < 1.15 * min(found.values())


def test_clip_of_window_length_has_one_position() -> None:
    assert place(Window.of_frames(16), seed=9, rows=16) == Cut(0, 16)


@pytest.mark.parametrize(
    ("window", "rows", "samples"),
    [
        (Window.of_frames(16), 16, 10_240),
        (Window.of_seconds(3), 75, 48_000),
        (Window.of_samples(641), 2, 641),
        (MfccField().window(40), 32, 19_968),
        (MfccField(hop_samples=640).window(1), 1, 1),
    ],
)
def test_window_lengths(window: Window, rows: int, samples: int) -> None:
    assert (window.rows, window.samples) == (rows, samples)
    assert window.seconds == rows / 25


@pytest.mark.parametrize(("rows", "samples"), [(0, 0), (-1, 5), (2, 640), (2, 1281)])
def test_rejects_invalid_windows(rows: int, samples: int) -> None:
    with pytest.raises(UsageError, match="window"):
        Window(rows, samples)
