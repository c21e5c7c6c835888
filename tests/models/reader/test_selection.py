"""The cache stores which shards a state refers to, also when ranks write at the same time."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.models.reader.selection import STORED_MANIFESTS, load_manifest, manifest_hash, store_manifest


def shards(number: int) -> list[list[tuple[str, str]]]:
    return [[(f"shard-{number}.tar", "0" * 64)]]


def test_keeps_newest_manifests(tmp_path: Path) -> None:
    for number in range(STORED_MANIFESTS + 3):
        digest = manifest_hash(shards(number))
        store_manifest(tmp_path, digest, shards(number))
        os.utime(tmp_path / "manifests" / f"{digest}.json", (number, number))

    assert load_manifest(tmp_path, manifest_hash(shards(STORED_MANIFESTS + 2))) == shards(
        STORED_MANIFESTS + 2
    )
    assert load_manifest(tmp_path, manifest_hash(shards(0))) is None
    assert len(list((tmp_path / "manifests").iterdir())) == STORED_MANIFESTS


def test_concurrent_ranks_store_manifests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A temporary file may be renamed between listing and stat."""
    real = os.scandir

    def listed(folder: Path) -> Iterator[Any]:
        (folder / ".another").touch()
        entries = list(real(folder))
        (folder / ".another").unlink()
        return iter(entries)

    monkeypatch.setattr(os, "scandir", listed)
    store_manifest(tmp_path, manifest_hash(shards(1)), shards(1))

    assert load_manifest(tmp_path, manifest_hash(shards(1))) == shards(1)
