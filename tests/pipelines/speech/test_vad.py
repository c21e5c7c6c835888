"""Speech spans from window probabilities."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mien.pipelines.speech.vad import WINDOW_SECONDS, speech_spans


@given(st.lists(st.floats(0, 1), min_size=1, max_size=300), st.floats(0, 0.5))
def test_speech_spans_are_sorted_disjoint_and_inside(values: list[float], pad: float) -> None:
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
