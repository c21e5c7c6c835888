"""What a state counts in is remembered by its hash, whoever else is at it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.models.reader.selection import KEPT, manifest_hash, recall, remember


def shards(number: int) -> list[list[tuple[str, str]]]:
    return [[(f"shard-{number}.tar", "0" * 64)]]


def test_the_last_ones_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        digest = manifest_hash(shards(number))
        remember(tmp_path, digest, shards(number))
        os.utime(tmp_path / "manifests" / f"{digest}.json", (number, number))

    assert recall(tmp_path, manifest_hash(shards(KEPT + 2))) == shards(KEPT + 2)
    assert recall(tmp_path, manifest_hash(shards(0))) is None
    assert len(list((tmp_path / "manifests").iterdir())) == KEPT


def test_ranks_that_begin_together_are_not_in_each_others_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What another rank is writing may have got its name between the listing and the look at its age."""
    real = os.scandir

    def listed(folder: Path) -> Iterator[Any]:
        (folder / ".another").touch()
        entries = list(real(folder))
        (folder / ".another").unlink()
        return iter(entries)

    monkeypatch.setattr(os, "scandir", listed)
    remember(tmp_path, manifest_hash(shards(1)), shards(1))

    assert recall(tmp_path, manifest_hash(shards(1))) == shards(1)
