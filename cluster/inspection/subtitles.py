"""Words as subtitles: lines of a few words, with the current word highlighted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

LINE_LETTERS = 42
"""The usual length of a subtitle line."""
PAUSE_SECONDS = 0.5
"""A longer pause starts a new line."""


@dataclass(frozen=True, slots=True)
class Cue:
    """A line of text, shown in [start, end) seconds of the clip, with one highlighted word."""

    start: float
    end: float
    before: str
    word: str
    after: str


def cues_of(words: object, *, seconds: float, text: str = "") -> list[Cue]:
    """One cue per word of a sample's `words`, or a single cue with `text` if no word has times.

    Invalid entries and words outside [0, seconds) are skipped, because the shards may be of any origin.
    """
    timed = list(_timed(words, seconds))
    if not timed:
        plain = " ".join(text.split())
        return [Cue(0.0, seconds, plain, "", "")] if plain else []
    found = []
    for line in _lines(timed):
        texts = [word for word, _, _ in line]
        for number, (word, start, end) in enumerate(line):
            upto = line[number + 1][1] if number + 1 < len(line) else end
            before, after = " ".join(texts[:number]), " ".join(texts[number + 1 :])
            found.append(Cue(start, upto, before and f"{before} ", word, after and f" {after}"))
    return found


def _timed(words: object, seconds: float) -> Iterable[tuple[str, float, float]]:
    last = 0.0
    for word in words if isinstance(words, list) else ():
        if not isinstance(word, Mapping):
            continue
        text, start, end = word.get("text"), _number(word.get("start")), _number(word.get("end"))
        if not isinstance(text, str) or start is None or end is None or not text.strip():
            continue
        start, end = max(start, last), min(end, seconds)
        if start < end:
            yield " ".join(text.split()), start, end
            last = end


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and abs(value) < float("inf") else None


def _lines(timed: Sequence[tuple[str, float, float]]) -> Iterable[list[tuple[str, float, float]]]:
    line: list[tuple[str, float, float]] = []
    for word in timed:
        letters = sum(len(text) + 1 for text, _, _ in line) + len(word[0])
        if line and (letters > LINE_LETTERS or word[1] - line[-1][2] > PAUSE_SECONDS):
            yield line
            line = []
        line.append(word)
    if line:
        yield line


def to_srt(cues: Sequence[Cue]) -> str:
    """As SubRip, with the current word in bold."""
    blocks = []
    for number, cue in enumerate(cues, 1):
        word = cue.word and f"<b>{cue.word}</b>"
        span = f"{_clock(cue.start)} --> {_clock(cue.end)}"
        blocks.append(f"{number}\n{span}\n{cue.before}{word}{cue.after}\n")
    return "\n".join(blocks)


def to_ass(cue: Cue, number: int) -> bytes:
    """As an Advanced SubStation Alpha event for FFmpeg's encoders, with the current word in bold."""
    word = cue.word and f"{{\\b1}}{_plain(cue.word)}{{\\b0}}"
    return f"{number},0,Default,,0,0,0,,{_plain(cue.before)}{word}{_plain(cue.after)}".encode()


def _plain(text: str) -> str:
    """Replaces characters that start commands in ASS."""
    return text.replace("{", "(").replace("}", ")").replace("\\", "/")


def _clock(seconds: float) -> str:
    millis = round(seconds * 1000)
    return f"{millis // 3_600_000:02}:{millis // 60_000 % 60:02}:{millis // 1000 % 60:02},{millis % 1000:03}"
