"""ShardReader besides batches: samples by key, raw samples in order, and clear errors."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mien.ingest.errors import FilterError, NoSamplesError, UnknownKeyError, UsageError
from mien.models.reader.shard_reader import ShardReader
from tests.models.corpora import Numbers, key_of, sample, write_corpus


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus", [6, 5])


def open_reader(folder: Path, **options: Any) -> ShardReader:
    return ShardReader(folder, collate=Numbers(), cache_dir=folder.parent / "cache", seed=7, **options)


def test_finds_sample_by_key_despite_filter(folder: Path) -> None:
    reader = open_reader(folder, where="rows > 8")

    assert len(reader) == 2
    assert reader[key_of(3)]["number"] == 3
    assert bytes(reader.raw(key_of(3)).members["bin"]) == sample(3).members["bin"]
    with pytest.raises(UnknownKeyError, match=r"no sample 'missing' in .*corpus"):
        reader.raw("missing")


def test_raw_samples_follow_batch_order(folder: Path) -> None:
    reader = open_reader(folder)
    with reader.loader(global_batch=11) as loader:
        epochs = [[key for batch in loader for key in batch["key"]] for _ in range(2)]

    for number, keys in enumerate(epochs):
        assert [one.key for one in reader.samples(epoch=number)] == keys
        assert [one.key for one in reader.samples(epoch=number, start=3, stop=7)] == keys[3:7]
    assert len(list(reader.samples(stop=1000))) == 11


def test_reads_several_folders(folder: Path, tmp_path: Path) -> None:
    other = write_corpus(tmp_path / "other", [4], first=100)
    reader = ShardReader([folder, other], cache_dir=tmp_path / "cache")

    assert sorted(one.key for one in reader.samples()) == [
        *(key_of(n) for n in range(11)),
        *(key_of(n) for n in range(100, 104)),
    ]
    assert {one.key: one.corpus for one in reader.samples()}[key_of(102)] == 1
    assert reader.raw(key_of(102)).corpus == 1


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"where": "no_such > 3"}, FilterError),
        ({"where": "rows > 300"}, NoSamplesError),
        ({"on_error": "ignore"}, UsageError),
        ({"shuffle_window": -1}, UsageError),
        ({"timeout_seconds": 0}, UsageError),
        ({"fields": ["faces"]}, UsageError),
    ],
)
def test_rejects_invalid_arguments(folder: Path, options: dict[str, Any], kind: type[Exception]) -> None:
    with pytest.raises(kind):
        open_reader(folder, **options)


@pytest.mark.parametrize("corpora", [[], {}, {"a": 0.0}, {"a": float("nan")}, {"a": -1}])
def test_rejects_invalid_corpora(corpora: Any, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        ShardReader(corpora, cache_dir=tmp_path)
