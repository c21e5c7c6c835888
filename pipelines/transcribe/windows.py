"""Which stretches Whisper hears. It always works on 30 s at a time, so the fewer windows the cheaper."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pipelines.data import Span, Word

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


def pack(spans: Iterable[Span], *, max_seconds: float = WHISPER_SECONDS - 0.5) -> list[Span]:
    """Sorted spans of speech joined into as few windows of at most `max_seconds` as a greedy pass gives.

    A window is contiguous sound (pauses included), so that times need no mapping. A span longer than a
    window is cut into equal parts.
    """
    windows: list[Span] = []
    for start, end in spans:
        parts = max(1, -int(-(end - start) // max_seconds))
        for part in range(parts):
            low = start + (end - start) * part / parts
            high = start + (end - start) * (part + 1) / parts
            if windows and high - windows[-1][0] <= max_seconds:
                windows[-1] = (windows[-1][0], high)
            else:
                windows.append((low, high))
    return windows


def heard(words: Iterable[Word], speech: Sequence[Span], *, slack_seconds: float = 0.2) -> list[Word]:
    """The words in order, none overlapping, none reaching into silence, none where nobody speaks.

    Whisper's attention knows a word's middle better than its edges: a first word often begins with its
    window and a last one ends with it, far into the silence. The voice detector's edges are taken there.
    Whisper also invents words over music and noise; what the detector did not hear is not a word.
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
