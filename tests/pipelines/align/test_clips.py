"""Cuts fall between words, pieces have allowed lengths, and touch."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from mien.pipelines.align.clips import cut_between_words, trim_to_words
from mien.pipelines.data import ROW_HZ, Word
from mien.pipelines.rows import runs, spans_to_rows


@st.composite
def spoken(draw: st.DrawFn) -> list[Word]:
    now, words = draw(st.floats(0, 3)), []
    for _ in range(draw(st.integers(0, 80))):
        end = now + draw(st.floats(0.05, 1.2))
        words.append(Word(text="w", start=now, end=end, probability=1.0))
        now = end + draw(st.sampled_from([0.0, 0.0, 0.02, 0.1, 0.5]))
    return words


def cuts_a_word(row: int, words: list[Word]) -> bool:
    """By more than half a row on both sides: nearer than that a row cannot tell."""
    instant = row / ROW_HZ
    return any(word.start + 0.5001 / ROW_HZ < instant < word.end - 0.5001 / ROW_HZ for word in words)


@given(spoken(), st.integers(0, 100), st.integers(1, 3000))
def test_trimmed_run_contains_complete_words_only(words: list[Word], low: int, length: int) -> None:
    run = (low, low + length)
    trimmed = trim_to_words(run, words, lead_rows=3)
    if trimmed is None:
        return
    assert low <= trimmed[0] < trimmed[1] <= low + length
    assert not cuts_a_word(trimmed[0], words)
    assert not cuts_a_word(trimmed[1], words)


@given(spoken(), st.integers(1, 3000))
def test_pieces_are_adjacent_and_not_too_long(words: list[Word], length: int) -> None:
    pieces = cut_between_words((0, length), words, min_rows=25, max_rows=375)
    assert pieces[0][0] == 0
    assert pieces[-1][1] == length
    assert all(a[1] == b[0] for a, b in pairwise(pieces))
    assert all(0 < high - low <= 375 for low, high in pieces)


@given(spoken())
def test_cuts_fall_between_words(words: list[Word]) -> None:
    if not words:
        return
    # Words of at most 1.2 s leave a boundary within every clip's second half.
    run = (round(words[0].start * ROW_HZ), round(words[-1].end * ROW_HZ))
    if run[1] <= run[0]:
        return
    for low, _ in cut_between_words(run, words, min_rows=25, max_rows=375)[1:]:
        assert not cuts_a_word(low, words)


def test_the_widest_pause_is_chosen() -> None:
    words = [Word(text="a", start=i * 0.5, end=i * 0.5 + 0.45, probability=1.0) for i in range(40)]
    words = [
        *words[:22],
        *(Word(text="b", start=w.start + 0.6, end=w.end + 0.6, probability=1.0) for w in words[22:]),
    ]
    first, second = cut_between_words((0, 515), words, min_rows=25, max_rows=375)
    assert first[1] == second[0] == round((words[21].end + words[22].start) / 2 * ROW_HZ)


def test_word_crossing_the_edge_is_excluded() -> None:
    words = [
        Word(text="cut", start=0.9, end=1.3, probability=1.0),
        Word(text="whole", start=1.5, end=2.0, probability=1.0),
    ]
    assert trim_to_words((25, 100), words, lead_rows=25) == (35, 75)


def test_run_without_words_gives_no_clip() -> None:
    assert trim_to_words((0, 100), [], lead_rows=3) is None


@given(st.floats(0, 3), st.floats(0.2, 3))
def test_word_as_long_as_its_speech_is_inside_it(start: float, length: float) -> None:
    word = Word(text="lay", start=start, end=start + length, probability=1.0)
    rows = spans_to_rows([(start, start + length)], 0, 200)
    (run,) = runs(rows)
    assert trim_to_words(run, [word], lead_rows=3) == run


def test_cuts_one_clip_if_two_would_be_too_short() -> None:
    assert cut_between_words((0, 400), [], min_rows=250, max_rows=375) == [(0, 375), (375, 400)]
