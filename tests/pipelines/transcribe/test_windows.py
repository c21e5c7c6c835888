"""Windows cover the speech and end in pauses; invented words are dropped."""

from __future__ import annotations

from itertools import pairwise
from math import inf

from hypothesis import given
from hypothesis import strategies as st

from mien.pipelines.data import Span, Word
from mien.pipelines.transcribe.windows import intersect, plan_windows, restrict_to_speech, spans_without_words


@st.composite
def spans(draw: st.DrawFn) -> list[Span]:
    now, out = 0.0, []
    for _ in range(draw(st.integers(0, 30))):
        now += draw(st.floats(0.01, 40))
        out.append((now, now + draw(st.floats(0.01, 70))))
        now = out[-1][1]
    return out


@given(spans(), st.floats(0, 3))
def test_windows_cover_all_speech_within_max_length(speech: list[Span], pad: float) -> None:
    end = speech[-1][1] + 1 if speech else 1.0
    plan = plan_windows(speech, limit=(0.0, end), pad_seconds=pad)
    assert all(0 <= w.input[0] < w.input[1] <= end and w.input[1] - w.input[0] <= 29.5 + 1e-6 for w in plan)
    # Each instant of speech has exactly one owner, whose input contains it.
    assert not plan or (plan[0].owned[0], plan[-1].owned[1]) == (-inf, inf)
    assert all(a.owned[1] == b.owned[0] for a, b in pairwise(plan))
    covered = [s for w in plan for s in intersect(intersect(speech, [w.owned]), [w.input])]
    assert abs(sum(b - a for a, b in covered) - sum(b - a for a, b in speech)) < 1e-6


@given(st.lists(st.floats(0.3, 8.0), min_size=20, max_size=60), st.floats(0.3, 2.5))
def test_windows_end_in_pauses(lengths: list[float], pause: float) -> None:
    speech, now = [], 0.0
    for length in lengths:
        speech.append((now, now + length))
        now += length + pause
    for window in plan_windows(speech, limit=(0.0, now), pad_seconds=1.0):
        assert not any(a < edge < b for a, b in speech for edge in (*window.input, *window.owned))


def test_window_ends_in_widest_pause_of_last_third() -> None:
    speech = [(0.0, 9.0), (9.3, 21.0), (22.5, 25.0), (25.2, 33.0)]
    first, second = plan_windows(speech, limit=(0.0, 40.0), pad_seconds=1.0)
    assert first.input == (0.0, 21.75)
    assert first.owned[1] == second.owned[0] == 21.75


@given(spans(), spans())
def test_intersection_is_symmetric_and_inside_both(left: list[Span], right: list[Span]) -> None:
    both = intersect(left, right)
    assert both == intersect(right, left)
    assert all(any(a <= low and high <= b for a, b in left) for low, high in both)


def test_drops_invented_words_and_removes_overlaps() -> None:
    words = [
        Word(text="real", start=1.0, end=1.5, probability=0.9),
        Word(text="overlap", start=1.4, end=1.8, probability=0.9),
        Word(text="invented", start=8.0, end=9.0, probability=0.2),
    ]
    cleaned = restrict_to_speech(words, [(0.9, 2.0)])
    assert [(word.text, word.start, word.end) for word in cleaned] == [
        ("real", 1.0, 1.5),
        ("overlap", 1.5, 1.8),
    ]


def test_clips_words_to_speech() -> None:
    words = [
        Word(text="first", start=0.0, end=1.2, probability=0.9),
        Word(text="last", start=1.3, end=4, probability=0.9),
    ]
    cleaned = restrict_to_speech(words, [(0.8, 1.6), (1.7, 2.0)])
    assert [(word.start, word.end) for word in cleaned] == [(0.8, 1.2), (1.3, 2.0)]


@given(spans(), st.lists(st.tuples(st.floats(0, 200), st.floats(0, 5)), max_size=20))
def test_words_are_sorted_without_overlap(speech: list[Span], raw: list[tuple[float, float]]) -> None:
    cleaned = restrict_to_speech(
        [Word(text="w", start=a, end=a + n, probability=1.0) for a, n in raw], speech
    )
    edges = [edge for word in cleaned for edge in (word.start, word.end)]
    assert edges == sorted(edges)


def test_finds_speech_without_words() -> None:
    words = [Word(text="w", start=a, end=a + 0.4, probability=1.0) for a in (1.0, 2.0, 12.0)]
    assert spans_without_words([(0.8, 13.0), (20.0, 21.0), (30.0, 35.0)], words) == [
        (3.4, 11.0),
        (30.0, 35.0),
    ]
    assert spans_without_words([(0.8, 3.0)], words) == []
