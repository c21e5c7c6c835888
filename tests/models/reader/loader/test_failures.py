"""Failures while loading raise a specific error, or are skipped if requested, and never hang."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from mien.ingest.errors import (
    DamagedSampleError,
    LoaderTimeoutError,
    LoaderWorkerError,
    MissingShardError,
    ReadError,
    UsageError,
)
from mien.models.reader.loader.loader import Loader
from mien.models.reader.loader.worker_pool import MAX_DEATHS
from mien.models.reader.shard_reader import ShardReader
from tests.models.corpora import Numbers, check_content, key_of, numbers_of, write_corpus
from tests.models.process_resources import NOTHING, held

SIZES = [10, 10, 10]
TOTAL = sum(SIZES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus", SIZES)


def open_reader(folder: Path, collate: Any = None, **options: Any) -> ShardReader:
    collate = collate or Numbers()
    return ShardReader(folder, collate=collate, cache_dir=folder.parent / "cache", seed=7, **options)


def all_of(loader: Loader) -> list[int]:
    return [number for batch in loader for number in numbers_of(batch)]


def worker_pids(loader: Loader) -> list[int]:
    return loader._queue.pids  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("workers", [0, 2])
def test_missing_shard_raises_and_keeps_state(folder: Path, workers: int) -> None:
    (folder / "shard-001.tar").rename(folder / "elsewhere")
    with open_reader(folder).loader(global_batch=5, workers=workers) as loader:
        batches = 0
        with pytest.raises(MissingShardError, match=r"shard-001\.tar is missing") as caught:
            for _ in loader:
                batches += 1
        assert caught.value.key in {key_of(n) for n in range(10, 20)}
        assert loader.state_dict()["samples_consumed"] == batches * 5
        with pytest.raises(MissingShardError):
            next(iter(loader))
        (folder / "elsewhere").rename(folder / "shard-001.tar")
        assert len(all_of(loader)) == TOTAL - batches * 5, "it continues after the repair"


@pytest.mark.parametrize(
    ("workers", "world"), [(0, 1), (0, 3), (2, 1), pytest.param(2, 3, marks=pytest.mark.slow)]
)
def test_skips_are_counted_and_steps_stay_equal(folder: Path, workers: int, world: int) -> None:
    (folder / "shard-001.tar").unlink()
    collate = Numbers(damages=4)
    seen: list[int] = []
    steps, skipped = set(), 0
    for rank in range(world):
        reader = open_reader(folder, collate, on_error="skip")
        with reader.loader(global_batch=6, workers=workers, rank=rank, world=world) as loader:
            batches = list(loader)
        for batch in batches:
            check_content(batch)
            assert len(batch["valid"]) == 6 // world
            seen += numbers_of(batch)
        steps.add(len(batches))
        assert set(loader.skipped) <= {"MissingShardError", "DamagedSampleError"}
        skipped += sum(loader.skipped.values())
        assert {skip.key for skip in loader.skips} <= {key_of(n) for n in (4, *range(10, 20))}

    assert sorted(seen) == [n for n in range(TOTAL) if n != 4 and not 10 <= n < 20]
    assert steps == {TOTAL // 6}
    assert skipped == 11


def test_skipping_keeps_order_and_resume(folder: Path) -> None:
    reader = open_reader(folder, Numbers(damages=4), on_error="skip", shuffle_window=8)
    with reader.loader(global_batch=6) as loader:
        expected = [batch["number"].tolist() for batch in loader]
    with reader.loader(global_batch=6, workers=1) as loader:
        first = [next(iter(loader))["number"].tolist() for _ in range(2)]
        state = loader.state_dict()
    with reader.loader(global_batch=6, workers=2) as loader:
        loader.load_state_dict(state)
        assert first + [batch["number"].tolist() for batch in loader] == expected


def test_raises_if_no_sample_is_readable(folder: Path) -> None:
    for tar in folder.glob("*.tar"):
        tar.unlink()
    with (
        open_reader(folder, on_error="skip").loader(global_batch=5, workers=1) as loader,
        pytest.raises(ReadError, match="none of the 5 samples of a batch can be read"),
    ):
        next(iter(loader))


def test_names_damaged_sample(folder: Path) -> None:
    with (
        open_reader(folder, Numbers(damages=4)).loader(global_batch=5, workers=1) as loader,
        pytest.raises(DamagedSampleError, match=f"sample {key_of(4)}: damaged on purpose"),
    ):
        all_of(loader)


def test_worker_errors_include_traceback(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with (
        open_reader(folder, Numbers(breaks=4)).loader(global_batch=5, workers=1) as loader,
        pytest.raises(LoaderWorkerError, match="RuntimeError: bad number: 4"),
    ):
        all_of(loader)
    assert "in _misbehave" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_replaces_killed_workers(folder: Path, workers: int) -> None:
    with open_reader(folder).loader(global_batch=5) as loader:
        expected = [batch["number"].tolist() for _ in range(2) for batch in loader]
    found = []
    with open_reader(folder).loader(global_batch=5, workers=workers) as loader:
        for _ in range(2):
            for batch in loader:
                found.append(batch["number"].tolist())
                if len(found) % 3 == 1:
                    for pid in worker_pids(loader):
                        os.kill(pid, signal.SIGKILL)

    assert found == expected


@pytest.mark.slow
def test_single_worker_death_loses_nothing(folder: Path, tmp_path: Path) -> None:
    collate = Numbers(kills=13, marker=str(tmp_path / "died"))
    with open_reader(folder, collate).loader(global_batch=5, workers=2) as loader:
        assert sorted(all_of(loader)) == list(range(TOTAL))
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_occasional_deaths_do_not_accumulate(folder: Path) -> None:
    """An idle worker dies, as under the system's memory limit in a long training."""
    with open_reader(folder).loader(global_batch=5, workers=1) as loader:
        for _ in range(MAX_DEATHS + 1):
            assert sorted(all_of(loader)) == list(range(TOTAL))
            os.kill(worker_pids(loader)[0], signal.SIGKILL)


@pytest.mark.slow
def test_gives_up_on_batch_that_always_kills(folder: Path) -> None:
    with (
        open_reader(folder, Numbers(kills=13)).loader(global_batch=5, workers=2) as loader,
        pytest.raises(
            LoaderWorkerError, match=rf"was killed by SIGKILL while building batch \d+; .*{MAX_DEATHS}"
        ) as first,
    ):
        try:
            all_of(loader)
        finally:
            with pytest.raises(LoaderWorkerError, match="while building batch") as second:
                all_of(loader)
    assert second.value is first.value
    assert not held().workers


def shorten_timeout(loader: Loader) -> None:
    """Shortens the timeout from now on. Earlier steps may be slow on a busy machine."""
    assert loader._queue._timeout_seconds == 250.0  # type: ignore[attr-defined]
    loader._queue._timeout_seconds = 0.5  # type: ignore[attr-defined]


@pytest.mark.slow
def test_hung_worker_times_out(folder: Path, tmp_path: Path) -> None:
    with open_reader(folder).loader(global_batch=5) as loader:
        batches_before = [13 in numbers_of(batch) for batch in loader].index(True)
    hanging = tmp_path / "hanging"
    reader = open_reader(folder, Numbers(hangs=13, marker=str(hanging)), timeout_seconds=250.0)
    with reader.loader(global_batch=5, workers=1) as loader:
        for _ in range(batches_before):
            next(iter(loader))
        while not hanging.exists():
            time.sleep(0.02)
        shorten_timeout(loader)
        with pytest.raises(LoaderTimeoutError, match=r"worker 0 \(pid \d+\) has been decoding for"):
            next(iter(loader))
    assert not held().workers


@pytest.mark.slow
def test_reports_long_waits(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.models.reader.loader.batch_queue.REPORT_SECONDS", 0.0)
    with open_reader(folder, Numbers(pause_seconds=1.3)).loader(global_batch=TOTAL, workers=1) as loader:
        next(iter(loader))
    assert "waiting for a batch" in caplog.text
    assert "worker 0" in caplog.text


@pytest.mark.slow
def test_stopped_worker_times_out(folder: Path) -> None:
    with open_reader(folder, timeout_seconds=250.0).loader(global_batch=5, workers=1) as loader:
        next(iter(loader))
        os.kill(worker_pids(loader)[0], signal.SIGSTOP)
        shorten_timeout(loader)
        with pytest.raises(LoaderTimeoutError, match=r"no batch after \d+ s: worker 0 \(pid \d+\) "):
            for _ in range(10):
                all_of(loader)
    assert not held().workers


def test_rejects_collator_that_cannot_be_pickled(folder: Path) -> None:
    class Local(Numbers):
        pass

    reader = open_reader(folder, Local())
    before = held()
    with pytest.raises(UsageError, match="define its class in a module, or use workers=0"):
        reader.loader(global_batch=5, workers=1)
    assert held().since(before) == NOTHING


def test_worker_reports_missing_index(folder: Path) -> None:
    reader = open_reader(folder)
    (reader.corpora[0].index.folder / "samples.arrow").unlink()
    with (
        reader.loader(global_batch=5, workers=1) as loader,
        pytest.raises(LoaderWorkerError, match=r"samples\.arrow"),
    ):
        next(iter(loader))
