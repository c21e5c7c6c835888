"""What Whisper hears covers the speech, in few windows; what it invents is dropped."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from pipelines.data import Span, Word
from pipelines.transcribe.windows import heard, intersect, pack


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    now, out = 0.0, []
    for _ in range(draw(st.integers(0, 30))):
        now += draw(st.floats(0.01, 40))
        out.append((now, now + draw(st.floats(0.01, 70))))
        now = out[-1][1]
    return out


@given(spans())
def test_windows_cover_the_speech_and_none_is_too_long(speech: list[Span]) -> None:
    windows = pack(speech)
    assert all(high - low <= 29.5 + 1e-9 for low, high in windows)
    assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(windows))
    covered = sum(high - low for low, high in intersect(windows, speech))
    assert abs(covered - sum(b - a for a, b in speech)) < 1e-6


@given(spans(), spans())
def test_intersection_is_symmetric_and_inside_both(left: list[Span], right: list[Span]) -> None:
    both = intersect(left, right)
    assert both == intersect(right, left)
    assert all(any(a <= low and high <= b for a, b in left) for low, high in both)


def test_invented_words_are_dropped_and_overlaps_mended() -> None:
    words = [
        Word(text="real", start=1.0, end=1.5, probability=0.9),
        Word(text="overlap", start=1.4, end=1.8, probability=0.9),
        Word(text="invented", start=8.0, end=9.0, probability=0.2),
    ]
    kept = heard(words, [(0.9, 2.0)])
    assert [(word.text, word.start, word.end) for word in kept] == [("real", 1.0, 1.5), ("overlap", 1.5, 1.8)]


def test_a_word_does_not_reach_into_the_silence_around_it() -> None:
    words = [
        Word(text="first", start=0.0, end=1.2, probability=0.9),
        Word(text="last", start=1.3, end=4, probability=0.9),
    ]
    kept = heard(words, [(0.8, 1.6), (1.7, 2.0)])
    assert [(word.start, word.end) for word in kept] == [(0.8, 1.2), (1.3, 2.0)]


@given(spans(), st.lists(st.tuples(st.floats(0, 200), st.floats(0, 5)), max_size=20))
def test_words_are_in_order_and_apart(speech: list[Span], raw: list[tuple[float, float]]) -> None:
    kept = heard([Word(text="w", start=a, end=a + n, probability=1.0) for a, n in raw], speech)
    edges = [edge for word in kept for edge in (word.start, word.end)]
    assert edges == sorted(edges)
