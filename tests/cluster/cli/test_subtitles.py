"""Subtitles: each word once, at its time, even if `words` is malformed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.cluster.inspection.subtitles import LINE_LETTERS, cues_of, to_ass, to_srt

times = st.floats(-2, 20) | st.just(float("nan"))
words = st.lists(
    st.fixed_dictionaries({"text": st.text(max_size=12), "start": times, "end": times}), max_size=20
)


def word(text: str, start: float, end: float) -> dict[str, Any]:
    return {"text": text, "start": start, "end": end}


@given(words=words, seconds=st.floats(0.1, 15))
def test_cues_are_ordered_within_the_clip(words: list[dict[str, Any]], seconds: float) -> None:
    cues = cues_of(words, seconds=seconds)
    edges = [edge for cue in cues for edge in (cue.start, cue.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= seconds for edge in edges)
    assert all(cue.start < cue.end and cue.word for cue in cues)
    assert to_srt(cues).count(" --> ") >= len(cues)


def test_lines_keep_the_length_limit() -> None:
    cues = cues_of([word(f"word{n:02}", n / 5, n / 5 + 0.2) for n in range(30)], seconds=10)
    lines = {cue.before + cue.word + cue.after for cue in cues}
    assert len(cues) == 30
    assert len(lines) == 5
    assert max(map(len, lines)) <= LINE_LETTERS


def test_pause_starts_a_new_line() -> None:
    cues = cues_of([word("a", 0, 1), word("b", 1.4, 2), word("c", 2.6, 3)], seconds=5)
    assert [(cue.before, cue.word, cue.after) for cue in cues] == [
        ("", "a", " b"),
        ("a ", "b", ""),
        ("", "c", ""),
    ]
    assert [(cue.start, cue.end) for cue in cues] == [(0, 1.4), (1.4, 2), (2.6, 3)]


@pytest.mark.parametrize("words", [None, "text", 3, [None, "a", {"text": "a"}, word("", 0, 1)], {}])
def test_words_without_times_are_one_cue(words: object) -> None:
    (cue,) = cues_of(words, seconds=2, text=" all\nof it ")
    assert (cue.start, cue.end, cue.before, cue.word) == (0, 2, "all of it", "")
    assert cues_of(words, seconds=2) == []


def test_words_are_not_ass_commands() -> None:
    (cue,) = cues_of([word(r"{\an8}x\N", 0, 1)], seconds=1)
    assert to_ass(cue, 0).decode().endswith(r",,{\b1}(/an8)x/N{\b0}")
