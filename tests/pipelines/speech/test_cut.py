"""Segments end in pauses, on the grid."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mien.pipelines.data import ROW_HZ, SOUND_HZ
from mien.pipelines.speech.split import choose_cut
from mien.pipelines.speech.vad import WINDOW_SECONDS, speech_spans

SILENCE = np.zeros(77 * SOUND_HZ, np.int16)


@given(st.lists(st.floats(0.3, 6.0), min_size=4, max_size=80), st.floats(0, 1000))
def test_the_cut_is_in_a_pause_where_there_is_one(lengths: list[float], origin: float) -> None:
    start = round(origin * ROW_HZ) / ROW_HZ
    spans, now = [], start
    for length in lengths:
        spans.append((now, now + length))
        now += length + 0.4
    cut = choose_cut(spans, SILENCE, start=start, earliest=start + 40, latest=start + 75, target=start + 60)
    assert start + 40 - 0.02 <= cut <= start + 75 + 0.02
    assert abs(cut * ROW_HZ - round(cut * ROW_HZ)) < 1e-6
    assert not any(a < cut < b for a, b in spans)


def test_without_a_pause_the_quietest_point_is_taken() -> None:
    rng = np.random.default_rng(0)
    sound = rng.integers(-9000, 9000, 77 * SOUND_HZ).astype(np.int16)
    sound[int(70.0 * SOUND_HZ) : int(70.2 * SOUND_HZ)] = 0
    cut = choose_cut([(0.0, 77.0)], sound, start=0.0, earliest=40.0, latest=75.0, target=60.0)
    assert 70.0 <= cut <= 70.2


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.floats(0, 0.5))
def test_speech_spans_are_sorted_apart_and_inside(values: list[float], pad: float) -> None:
    probabilities = np.array(values, np.float32)
    end = 5.0 + len(values) * WINDOW_SECONDS
    spans = speech_spans(
        probabilities,
        start=5.0,
        end=end,
        threshold=0.5,
        min_speech_seconds=0.1,
        min_silence_seconds=0.2,
        pad_seconds=pad,
    )
    edges = [edge for span in spans for edge in span]
    assert edges == sorted(edges)
    assert not edges or (edges[0] >= 5.0 and edges[-1] <= end + 1e-9)
