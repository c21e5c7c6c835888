"""Planning the windows that Whisper transcribes, and cleaning up the words that it returns.

Whisper always processes 30 s at a time, so fewer windows cost less.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, inf

from mien.pipelines.data import Span, Word

WHISPER_SECONDS = 30.0


def intersect(left: Sequence[Span], right: Sequence[Span]) -> list[Span]:
    """Overlaps of two sorted lists of spans."""
    out, i, j = [], 0, 0
    while i < len(left) and j < len(right):
        low, high = max(left[i][0], right[j][0]), min(left[i][1], right[j][1])
        if low < high:
            out.append((low, high))
        if left[i][1] < right[j][1]:
            i += 1
        else:
            j += 1
    return out


@dataclass(frozen=True, slots=True)
class WhisperWindow:
    """One window of sound for Whisper."""

    input: Span
    """The sound that Whisper receives. It is contiguous, so word times need no mapping."""
    owned: Span
    """Words whose middle is in this span belong to this window. Windows that overlap return some words
    twice."""


def plan_windows(
    speech: Iterable[Span],
    *,
    limit: Span,
    pad_seconds: float,
    max_seconds: float = WHISPER_SECONDS - 0.5,
    overlap_seconds: float = 3.0,
) -> list[WhisperWindow]:
    """Covers sorted spans of speech with few windows of at most `max_seconds`, cut in pauses.

    A full window ends in the widest pause of its last third. Speech without a pause for longer than a window
    is split into overlapping windows. Free room in a window is filled with the surrounding sound: at most
    `pad_seconds` and half a pause on each side, inside `limit`. This context costs nothing.
    """
    groups = _group(_pieces(speech, max_seconds, overlap_seconds), max_seconds)
    if not groups:
        return []
    inputs: list[Span] = []
    for number, (start, end) in enumerate(groups):
        before = start - groups[number - 1][1] if number else 2 * (start - limit[0])
        after = groups[number + 1][0] - end if number + 1 < len(groups) else 2 * (limit[1] - end)
        room = min(pad_seconds, (max_seconds - (end - start)) / 2)
        inputs.append((start - max(0.0, min(room, before / 2)), end + max(0.0, min(room, after / 2))))
    borders = [-inf, *((a[1] + b[0]) / 2 for a, b in pairwise(inputs)), inf]
    return [WhisperWindow(span, owned) for span, owned in zip(inputs, pairwise(borders), strict=True)]


def _pieces(speech: Iterable[Span], longest: float, overlap: float) -> Iterator[Span]:
    """The spans; those longer than a window are split into overlapping pieces."""
    for start, end in speech:
        if end - start <= longest:
            yield start, end
            continue
        count = ceil((end - start - overlap) / (longest - overlap))
        hop = (end - start - overlap) / count
        for number in range(count):
            yield start + number * hop, start + (number + 1) * hop + overlap


def _group(pieces: Iterable[Span], longest: float) -> list[Span]:
    groups: list[Span] = []
    group: list[Span] = []
    for piece in pieces:
        group.append(piece)
        while group[-1][1] - group[0][0] > longest:
            late = [at for at in range(1, len(group)) if group[at][0] - group[0][0] >= longest * 2 / 3]
            cut = max(late or [len(group) - 1], key=lambda at: group[at][0] - group[at - 1][1])
            groups.append((group[0][0], group[cut - 1][1]))
            group = group[cut:]
    if group:
        groups.append((group[0][0], group[-1][1]))
    return groups


def spans_without_words(
    spans: Sequence[Span], words: Sequence[Word], *, pause_seconds: float = 1.0, min_seconds: float = 2.0
) -> list[Span]:
    """Parts of `spans` at least `min_seconds` long and further than `pause_seconds` from any word."""
    gaps: list[Span] = []
    for start, end in spans:
        now = start
        for word in words:
            if word.start - pause_seconds < end and word.end + pause_seconds > start:
                gaps.append((now, min(end, word.start - pause_seconds)))
                now = max(now, word.end + pause_seconds)
        gaps.append((now, end))
    return [(a, b) for a, b in gaps if b - a >= min_seconds]


def restrict_to_speech(
    words: Iterable[Word], speech: Sequence[Span], *, slack_seconds: float = 0.2
) -> list[Word]:
    """The words in order, without overlaps, clipped to the spans of speech; words outside speech are dropped.

    Whisper's attention locates the middle of a word better than its edges. The first word of a window often
    starts with the window, and the last one ends with it, far into the silence. There, the edges of the voice
    activity detector are used. Whisper also invents words over music and noise, so words outside detected
    speech are dropped.
    """
    out: list[Word] = []
    for word in sorted(words, key=lambda word: (word.start, word.end)):
        near = [(a, b) for a, b in speech if a - slack_seconds < word.end and word.start < b + slack_seconds]
        if not near:
            continue
        over = [(a, b) for a, b in near if a < word.end and word.start < b]
        start, end = word.start, word.end
        if over:
            start, end = max(start, over[0][0]), min(end, over[-1][1])
        if out:
            start = max(start, out[-1].end)
        out.append(Word(text=word.text, start=start, end=max(start, end), probability=word.probability))
    return out
