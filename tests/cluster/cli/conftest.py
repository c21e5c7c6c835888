"""A small corpus for `mien shards`, and what a stranger reads from it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.talking import write_talking
from tests.reading import Read, read_shards

SAMPLES, PER_SHARD = 20, 8


@pytest.fixture(scope="package")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 samples in three shards."""
    return write_talking(tmp_path_factory.mktemp("corpus") / "shards", SAMPLES, per_shard=PER_SHARD)


@pytest.fixture(scope="package")
def truth(shards: Path) -> dict[str, Read]:
    """By key."""
    return {sample.key: sample for sample in read_shards(shards)}


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the reader's indexes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
