"""A field that is defined outside the reader is read like the built-in ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien import Field, RawSample, ShardReader, Window
from mien.models.reader.data import Allocate
from mien.models.reader.fields.field import Content, content
from mien.models.reader.fields.window import Cut
from tests.models.talking_shards import write_talking


@dataclass(frozen=True, slots=True)
class WordCountField(Field[int]):
    """`word_count` (B,) int64, of the `txt` member."""

    @property
    def name(self) -> str:
        return "word_count"

    def members(self, *, windowed: bool) -> frozenset[str]:
        del windowed
        return frozenset({"txt"})

    def open(self, sample: RawSample, *, windowed: bool) -> int:
        del windowed
        member: Content = content(sample, "txt")
        return len(bytes(member.data).split())

    def collate(
        self, parts: Sequence[int], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        del cuts, window
        out = allocate("word_count", (len(parts),), np.dtype(np.int64))
        out[:] = parts
        return {"word_count": out}


@pytest.mark.parametrize("workers", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_reads_field_defined_in_a_test(tmp_path: Path, workers: int) -> None:
    shards = write_talking(tmp_path / "shards", 3)
    fields: list[str | Field[Any]] = [WordCountField(), "text"]
    reader = ShardReader(shards, fields=fields, cache_dir=tmp_path / "cache")
    with reader.loader(global_batch=3, workers=workers, tensors=False) as loader:
        batch = next(iter(loader))

    assert batch["word_count"].tolist() == [len(text.split()) for text in batch["text"]]
    assert batch["word_count"].any()
