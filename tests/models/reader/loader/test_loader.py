"""The loader gives the same batches in process and through workers, and resumes exactly."""

from __future__ import annotations

import gc
import json
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.ingest.errors import ManifestChangedError, ReaderStateError, UsageError
from mien.models.reader.loader.loader import Loader
from mien.models.reader.order.steps import Tail
from mien.models.reader.shard_reader import ShardReader
from tests.models.corpora import Numbers, check_content, numbers_of, write_corpus
from tests.models.process_resources import NOTHING, held

SIZES = [9, 1, 14, 0, 20]
TOTAL = sum(SIZES)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_corpus(tmp_path_factory.mktemp("corpus"), SIZES)


@pytest.fixture(scope="module")
def reader(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> ShardReader:
    return open_reader(folder, tmp_path_factory.mktemp("cache"))


def open_reader(folder: Path, cache: Path, collate: Numbers | None = None, **options: Any) -> ShardReader:
    options = {"seed": 7, "shuffle_window": 16, **options}
    return ShardReader(folder, collate=collate or Numbers(), cache_dir=cache, **options)


def read_batches(loader: Loader, count: int) -> list[tuple[list[int], list[bool], list[int]]]:
    """The next `count` batches, across epochs."""
    found: list[tuple[list[int], list[bool], list[int]]] = []
    while len(found) < count:
        for batch in loader:
            check_content(batch)
            found.append((batch["number"].tolist(), batch["valid"].tolist(), batch["seed"].tolist()))
            if len(found) == count:
                break
    return found


@pytest.mark.parametrize(
    "workers", [pytest.param(1, marks=pytest.mark.slow), 2, pytest.param(4, marks=pytest.mark.slow)]
)
@pytest.mark.parametrize("tail", ["drop", "pad", "carry"])
def test_batches_do_not_depend_on_workers(reader: ShardReader, tail: Tail, workers: int) -> None:
    found_all = []
    for number in (0, workers):
        with reader.loader(global_batch=8, workers=number, tail=tail) as loader:
            found_all.append((read_batches(loader, 14), loader.state_dict()))

    assert found_all[0] == found_all[1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "at"),
    [
        *((0, at) for at in (0, 1, 5, 6, 8, 12)),
        (2, 5),
        *(pytest.param(2, at, marks=pytest.mark.slow) for at in (0, 1, 6, 8, 12)),
    ],
)
def test_resumes_exactly_on_another_world(
    reader: ShardReader, folder: Path, tmp_path: Path, workers: int, at: int
) -> None:
    """44 samples in batches of 8, padded: 6 batches per epoch, so 6 and 12 are epoch ends."""
    with reader.loader(global_batch=8, workers=workers) as uninterrupted:
        expected = read_batches(uninterrupted, 16)
    with reader.loader(global_batch=8, workers=workers) as first:
        read_batches(first, at)
        state = json.loads(json.dumps(first.state_dict()))
    another = open_reader(folder, tmp_path, seed=99)

    with another.loader(global_batch=8, workers=workers) as resumed:
        resumed.load_state_dict(state)
        assert resumed.state_dict() == state
        assert read_batches(resumed, 16 - at) == expected[at:]
    ranks = [another.loader(global_batch=8, rank=rank, world=3, workers=0) for rank in range(3)]
    for rank in ranks:
        rank.load_state_dict(state)
    shared = zip(*(read_batches(rank, 16 - at) for rank in ranks), strict=True)
    joined = [tuple(list(chain(*parts)) for parts in zip(*step, strict=True)) for step in shared]
    assert joined == expected[at:]


def test_state_ignores_prefetched_batches(reader: ShardReader) -> None:
    with reader.loader(global_batch=8, workers=2, prefetch=3) as loader:
        assert loader.state_dict()["samples_consumed"] == 0
        states = [loader.state_dict()["samples_consumed"] for _ in loader]

    assert states == [8, 16, 24, 32, 40, 0]


def test_rewinds_with_prefetched_batches(reader: ShardReader) -> None:
    with reader.loader(global_batch=8, workers=2) as loader:
        begin = loader.state_dict()
        first = read_batches(loader, 9)
        for _ in range(3):
            loader.load_state_dict(begin)
            assert read_batches(loader, 9) == first


def test_interrupted_iteration_loses_nothing(reader: ShardReader) -> None:
    with reader.loader(global_batch=8, workers=2) as loader:
        seen = numbers_of(next(iter(loader)))
        for batch in loader:
            seen += numbers_of(batch)

    assert sorted(seen) == list(range(TOTAL))
    assert loader.epoch == 1


def test_epochs_differ_and_are_complete(reader: ShardReader) -> None:
    with reader.loader(global_batch=8, workers=2) as loader:
        epochs = [[number for batch in loader for number in numbers_of(batch)] for _ in range(3)]

    assert [sorted(epoch) for epoch in epochs] == [list(range(TOTAL))] * 3
    assert epochs[0] != epochs[1] != epochs[2]
    assert loader.batches_left == len(loader) == 6


@pytest.mark.parametrize("workers", [0, 2])
def test_retained_batches_keep_their_content(reader: ShardReader, workers: int) -> None:
    with reader.loader(global_batch=4, workers=workers) as loader:
        retained = list(loader)
    for batch in retained:
        check_content(batch)

    assert sorted(number for batch in retained for number in numbers_of(batch)) == list(range(TOTAL))


def test_returns_tensors_or_arrays(reader: ShardReader) -> None:
    for tensors, kind in ((None, torch.Tensor), (False, np.ndarray)):
        with reader.loader(global_batch=8, tensors=tensors) as loader:
            batch = next(iter(loader))
            assert list(batch) == ["key", "number", "seed", "noise", "valid"]
            assert all(isinstance(batch[name], kind) for name in list(batch)[1:])
            batch["number"][0] = 3  # the trainer may modify a batch


def test_close_releases_everything(reader: ShardReader) -> None:
    read_batches(reader.loader(global_batch=8), 1)  # opens the files that the reader keeps open
    gc.collect()  # otherwise garbage of earlier tests would be collected during this test
    before = held()
    loader = reader.loader(global_batch=8, workers=2)
    read_batches(loader, 2)
    assert len(held().workers) == 2
    loader.close()
    loader.close()

    assert held().since(before) == NOTHING
    with pytest.raises(UsageError, match="closed"):
        next(iter(loader))


@pytest.mark.parametrize("workers", [0, 1])
def test_garbage_collected_loader_releases_everything(reader: ShardReader, workers: int) -> None:
    read_batches(reader.loader(global_batch=8), 1)  # opens the files that the reader keeps open
    gc.collect()
    before = held()
    loader = reader.loader(global_batch=8, workers=workers)
    read_batches(loader, 1)
    del loader
    gc.collect()

    assert held().since(before) == NOTHING


def test_filter_reads_only_passing_samples(folder: Path, tmp_path: Path) -> None:
    filtered = open_reader(folder, tmp_path, where="rows >= 20 and language == 'en'")
    with filtered.loader(global_batch=4, workers=1) as loader:
        seen = [number for batch in loader for number in numbers_of(batch)]

    assert sorted(seen) == [n for n in range(20, TOTAL) if n % 3 == 0]
    assert len(filtered) == len(seen)


def test_rejects_state_of_another_order(reader: ShardReader, folder: Path, tmp_path: Path) -> None:
    state = reader.loader(global_batch=8).state_dict()
    for options in ({"where": "rows > 3"}, {"shuffle_window": 17}):
        with pytest.raises(ReaderStateError, match="another where, weights"):
            open_reader(folder, tmp_path, **options).loader(global_batch=8).load_state_dict(state)


def test_new_shards_wait_for_fresh_loader(tmp_path: Path) -> None:
    folder, cache = tmp_path / "corpus", tmp_path / "cache"
    write_corpus(folder, [10, 10])
    with open_reader(folder, cache).loader(global_batch=4) as loader:
        expected = read_batches(loader, 10)
    with open_reader(folder, cache).loader(global_batch=4) as loader:
        read_batches(loader, 3)
        state = loader.state_dict()
    write_corpus(folder, [10], first=20, name="another")

    grown = open_reader(folder, cache)
    assert len(grown) == 30
    assert grown.manifest_hash != state["manifest_hash"]
    with grown.loader(global_batch=4, workers=1) as loader:
        loader.load_state_dict(state)
        assert read_batches(loader, 7) == expected[3:]
        assert loader.state_dict()["manifest_hash"] == state["manifest_hash"]
    with grown.loader(global_batch=4) as loader:
        today = loader.state_dict()
        assert sorted(n for batch in loader for n in numbers_of(batch)) == list(range(30))
        loader.load_state_dict(state)
        assert read_batches(loader, 7) == expected[3:]
        loader.load_state_dict(today)  # refers to more shards than the earlier state
        assert sorted(n for batch in loader for n in numbers_of(batch)) == list(range(30))


def test_names_shards_missing_from_state(tmp_path: Path) -> None:
    folder, cache = tmp_path / "corpus", tmp_path / "cache"
    write_corpus(folder, [10, 10])
    state = open_reader(folder, cache).loader(global_batch=4).state_dict()
    write_corpus(folder, [5], first=20, name="another")

    with pytest.raises(ManifestChangedError, match=rf"copy {state['manifest_hash']}\.json there"):
        open_reader(folder, tmp_path / "other cache").loader(global_batch=4).load_state_dict(state)
    for suffix in (".tar", ".tar.parquet"):
        (folder / f"shard-001{suffix}").unlink()
    loader = open_reader(folder, cache).loader(global_batch=4)
    before = loader.state_dict()
    with pytest.raises(ManifestChangedError, match=r"1 of its 2 shards are missing.*shard-001\.tar"):
        loader.load_state_dict(state)
    assert loader.state_dict() == before, "the failed call changes nothing"


@pytest.mark.slow
def test_workers_read_weighted_corpora(folder: Path, tmp_path: Path) -> None:
    other = write_corpus(tmp_path / "other", [6], first=500)
    mixed = ShardReader(
        {str(folder): 1.0, str(other): 1.0}, collate=Numbers(), cache_dir=tmp_path / "cache", seed=7
    )
    found_all = []
    for workers in (0, 2):
        with mixed.loader(global_batch=10, workers=workers) as loader:
            found_all.append(read_batches(loader, 10))

    assert found_all[0] == found_all[1]
    seen = [
        number
        for numbers, valid, _ in found_all[0][:5]
        for number, ok in zip(numbers, valid, strict=True)
        if ok
    ]
    assert len(seen) == TOTAL + 6
    small = [number for number in seen if number >= 500]
    assert 15 <= len(small) <= 35, "half of the positions, several passes"
    assert {small.count(n) for n in range(500, 506)} <= {len(small) // 6, len(small) // 6 + 1}


def test_loader_rejects_invalid_arguments(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs fields"):
        ShardReader(folder, cache_dir=tmp_path).loader(global_batch=4)
    fields = open_reader(folder, tmp_path)
    wrong: list[dict[str, Any]] = [
        {"global_batch": 4, "workers": -1},
        {"global_batch": 4, "rank": 1},
        {"global_batch": 0},
    ]
    for options in wrong:
        with pytest.raises(UsageError):
            fields.loader(**options)
    assert not held().workers
