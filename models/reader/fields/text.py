"""`text`, `words` and `json` (or `meta`): the transcript, its words with times, and the clip's metadata."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from mien.models.reader.data import Allocate, RawSample
from mien.models.reader.fields.field import Content, Field, content
from mien.models.reader.fields.window import Cut, Window
from mien.pipelines.data import ROW_HZ, Word


@dataclass(frozen=True, slots=True)
class JsonField(Field[dict[str, Any]]):
    """The `json` member: a list of B dicts under the key `key`."""

    key: str = "json"

    @property
    def name(self) -> str:
        return self.key

    def members(self, *, windowed: bool) -> frozenset[str]:
        del windowed
        return frozenset({"json"})

    def open(self, sample: RawSample, *, windowed: bool) -> dict[str, Any]:
        del windowed
        return _parse(content(sample, "json"))

    def collate(
        self,
        parts: Sequence[dict[str, Any]],
        cuts: Sequence[Cut] | None,
        window: Window | None,
        allocate: Allocate,
    ) -> dict[str, Any]:
        del cuts, window, allocate
        return {self.key: list(parts)}


@dataclass(frozen=True, slots=True)
class WordsField(Field[tuple[Word, ...]]):
    """A list of B tuples of `mien.pipelines.data.Word`, with times in seconds from the start of the clip.
    With a window: only words whose middle is in the window, with times from the start of the window."""

    @property
    def name(self) -> str:
        return "words"

    def members(self, *, windowed: bool) -> frozenset[str]:
        del windowed
        return frozenset({"json"})

    def open(self, sample: RawSample, *, windowed: bool) -> tuple[Word, ...]:
        del windowed
        return _words(content(sample, "json"))

    def collate(
        self,
        parts: Sequence[tuple[Word, ...]],
        cuts: Sequence[Cut] | None,
        window: Window | None,
        allocate: Allocate,
    ) -> dict[str, Any]:
        del window, allocate
        if cuts is None:
            return {"words": list(parts)}
        return {"words": [_within(words, cut) for words, cut in zip(parts, cuts, strict=True)]}


@dataclass(frozen=True, slots=True)
class TextField(Field[Any]):
    """A list of B strings: the `txt` member. With a window: the window's words (see `WordsField`), joined."""

    @property
    def name(self) -> str:
        return "text"

    def members(self, *, windowed: bool) -> frozenset[str]:
        return frozenset({"json" if windowed else "txt"})

    def open(self, sample: RawSample, *, windowed: bool) -> Any:
        if windowed:
            return _words(content(sample, "json"))
        member = content(sample, "txt")
        try:
            return str(member.data, "utf-8")
        except UnicodeDecodeError as error:
            raise member.damaged("it is not UTF-8") from error

    def collate(
        self, parts: Sequence[Any], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        del window, allocate
        if cuts is None:
            return {"text": list(parts)}
        return {
            "text": [
                " ".join(word.text for word in _within(words, cut))
                for words, cut in zip(parts, cuts, strict=True)
            ]
        }


def _parse(member: Content) -> dict[str, Any]:
    try:
        found = json.loads(str(member.data, "utf-8"))
    except (ValueError, RecursionError) as error:
        raise member.damaged("it is not JSON") from error
    if not isinstance(found, dict):
        raise member.damaged("it is not a JSON object")
    return found


def _words(member: Content) -> tuple[Word, ...]:
    try:
        words = tuple(
            Word(text=w["text"], start=w["start"], end=w["end"], probability=w["probability"])
            for w in _parse(member)["words"]
        )
        if not all(isinstance(w.text, str) and math.isfinite(w.start + w.end) for w in words):
            raise TypeError("wrong type of a text or a time")
    except (KeyError, TypeError, OverflowError) as error:
        raise member.damaged("it has no list of words with start, end and probability") from error
    return words


def _within(words: tuple[Word, ...], cut: Cut) -> tuple[Word, ...]:
    start, end = cut.first_row / ROW_HZ, (cut.first_row + cut.rows) / ROW_HZ
    return tuple(
        Word(
            text=word.text,
            start=max(0.0, word.start - start),
            end=min(end, word.end) - start,
            probability=word.probability,
        )
        for word in words
        if start <= (word.start + word.end) / 2 < end
    )
