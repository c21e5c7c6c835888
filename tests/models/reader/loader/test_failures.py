"""What goes wrong under a loader has a name, is skipped where the caller said so, and never hangs."""

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
from mien.models.reader.loader.worker_pool import DEATHS
from mien.models.reader.shard_reader import ShardReader
from tests.models.corpora import Numbers, check_content, key_of, numbers_of, write_corpus
from tests.models.process_resources import NOTHING, held

SIZES = [10, 10, 10]
TOTAL = sum(SIZES)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_corpus(tmp_path / "corpus", SIZES)


def made(folder: Path, collate: Any = None, **options: Any) -> ShardReader:
    collate = collate or Numbers()
    return ShardReader(folder, collate=collate, cache_dir=folder.parent / "cache", seed=7, **options)


def all_of(loader: Loader) -> list[int]:
    return [number for batch in loader for number in numbers_of(batch)]


def crew_pids(loader: Loader) -> list[int]:
    return loader._queue.pids  # type: ignore[attr-defined,no-any-return]


@pytest.mark.parametrize("workers", [0, 2])
def test_a_missing_shard_is_raised_and_the_state_stays(folder: Path, workers: int) -> None:
    (folder / "shard-001.tar").rename(folder / "elsewhere")
    with made(folder).loader(global_batch=5, workers=workers) as loader:
        batches = 0
        with pytest.raises(MissingShardError, match=r"shard-001\.tar is not there") as caught:
            for _ in loader:
                batches += 1
        assert caught.value.key in {key_of(n) for n in range(10, 20)}
        assert loader.state_dict()["samples_consumed"] == batches * 5
        with pytest.raises(MissingShardError):
            next(iter(loader))
        (folder / "elsewhere").rename(folder / "shard-001.tar")
        assert len(all_of(loader)) == TOTAL - batches * 5, "mended, it goes on"


@pytest.mark.parametrize(
    ("workers", "world"), [(0, 1), (0, 3), (2, 1), pytest.param(2, 3, marks=pytest.mark.slow)]
)
def test_what_is_skipped_is_counted_and_every_rank_keeps_its_steps(
    folder: Path, workers: int, world: int
) -> None:
    (folder / "shard-001.tar").unlink()
    collate = Numbers(damages=4)
    seen: list[int] = []
    steps, skipped = set(), 0
    for rank in range(world):
        reader = made(folder, collate, on_error="skip")
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
    reader = made(folder, Numbers(damages=4), on_error="skip", shuffle_window=8)
    with reader.loader(global_batch=6) as loader:
        expected = [batch["number"].tolist() for batch in loader]
    with reader.loader(global_batch=6, workers=1) as loader:
        first = [next(iter(loader))["number"].tolist() for _ in range(2)]
        state = loader.state_dict()
    with reader.loader(global_batch=6, workers=2) as loader:
        loader.load_state_dict(state)
        assert first + [batch["number"].tolist() for batch in loader] == expected


def test_where_nothing_is_left_to_fill_a_batch_it_is_raised(folder: Path) -> None:
    for tar in folder.glob("*.tar"):
        tar.unlink()
    with (
        made(folder, on_error="skip").loader(global_batch=5, workers=1) as loader,
        pytest.raises(ReadError, match="none of 5 samples of a batch can be read"),
    ):
        next(iter(loader))


def test_a_damaged_sample_is_named_by_its_key(folder: Path) -> None:
    with (
        made(folder, Numbers(damages=4)).loader(global_batch=5, workers=1) as loader,
        pytest.raises(DamagedSampleError, match=f"sample {key_of(4)}: made to be so"),
    ):
        all_of(loader)


def test_any_other_error_in_a_worker_is_told_with_its_trace(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        made(folder, Numbers(breaks=4)).loader(global_batch=5, workers=1) as loader,
        pytest.raises(LoaderWorkerError, match="RuntimeError: no good number: 4"),
    ):
        all_of(loader)
    assert "in _misbehave" in caplog.text


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 3])
def test_killed_workers_are_replaced_and_nothing_changes(folder: Path, workers: int) -> None:
    with made(folder).loader(global_batch=5) as loader:
        expected = [batch["number"].tolist() for _ in range(2) for batch in loader]
    found = []
    with made(folder).loader(global_batch=5, workers=workers) as loader:
        for _ in range(2):
            for batch in loader:
                found.append(batch["number"].tolist())
                if len(found) % 3 == 1:
                    for pid in crew_pids(loader):
                        os.kill(pid, signal.SIGKILL)

    assert found == expected


@pytest.mark.slow
def test_a_worker_that_dies_once_over_a_sample_costs_nothing(folder: Path, tmp_path: Path) -> None:
    collate = Numbers(kills=13, marker=str(tmp_path / "died"))
    with made(folder, collate).loader(global_batch=5, workers=2) as loader:
        assert sorted(all_of(loader)) == list(range(TOTAL))
    assert (tmp_path / "died").exists()


@pytest.mark.slow
def test_deaths_now_and_then_are_no_reason_to_give_up(folder: Path) -> None:
    """Of a worker that had nothing to do, as the system's memory limit picks one in a training of weeks."""
    with made(folder).loader(global_batch=5, workers=1) as loader:
        for _ in range(DEATHS + 1):
            assert sorted(all_of(loader)) == list(range(TOTAL))
            os.kill(crew_pids(loader)[0], signal.SIGKILL)


@pytest.mark.slow
def test_a_batch_that_always_kills_is_given_up_and_named(folder: Path) -> None:
    with (
        made(folder, Numbers(kills=13)).loader(global_batch=5, workers=2) as loader,
        pytest.raises(LoaderWorkerError, match=rf"was killed by SIGKILL over batch \d+, .*{DEATHS}") as first,
    ):
        try:
            all_of(loader)
        finally:
            with pytest.raises(LoaderWorkerError, match="over batch") as again:
                all_of(loader)
    assert again.value is first.value
    assert not held().workers


def hurry(loader: Loader) -> None:
    """From now on next to no time is given: what came before may take its time on a busy machine."""
    assert loader._queue._timeout_seconds == 250.0  # type: ignore[attr-defined]
    loader._queue._timeout_seconds = 0.5  # type: ignore[attr-defined]


@pytest.mark.slow
def test_a_worker_that_hangs_is_waited_for_so_long_and_told_about(folder: Path, tmp_path: Path) -> None:
    with made(folder).loader(global_batch=5) as loader:
        batches_before = [13 in numbers_of(batch) for batch in loader].index(True)
    hanging = tmp_path / "hanging"
    reader = made(folder, Numbers(hangs=13, marker=str(hanging)), timeout_seconds=250.0)
    with reader.loader(global_batch=5, workers=1) as loader:
        for _ in range(batches_before):
            next(iter(loader))
        while not hanging.exists():
            time.sleep(0.02)
        hurry(loader)
        with pytest.raises(LoaderTimeoutError, match=r"worker 0 \(pid \d+\) has been decoding for"):
            next(iter(loader))
    assert not held().workers


@pytest.mark.slow
def test_it_is_said_while_it_is_waited_for(
    folder: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mien.models.reader.loader.batch_queue.REPORT_SECONDS", 0.0)
    with made(folder, Numbers(pause_seconds=1.3)).loader(global_batch=TOTAL, workers=1) as loader:
        next(iter(loader))
    assert "waiting for a batch" in caplog.text
    assert "worker 0" in caplog.text


@pytest.mark.slow
def test_a_stopped_worker_is_no_hang_either(folder: Path) -> None:
    with made(folder, timeout_seconds=250.0).loader(global_batch=5, workers=1) as loader:
        next(iter(loader))
        os.kill(crew_pids(loader)[0], signal.SIGSTOP)
        hurry(loader)
        with pytest.raises(LoaderTimeoutError, match=r"waited \d+ s for a batch, worker 0 \(pid \d+\) "):
            for _ in range(10):
                all_of(loader)
    assert not held().workers


def test_a_collator_that_cannot_travel_is_refused_at_once(folder: Path) -> None:
    class Local(Numbers):
        pass

    reader = made(folder, Local())
    before = held()
    with pytest.raises(UsageError, match="define it in a module, or use workers=0"):
        reader.loader(global_batch=5, workers=1)
    assert held().since(before) == NOTHING


def test_an_index_that_went_is_said_by_the_worker(folder: Path) -> None:
    reader = made(folder)
    (reader.corpora[0].index.folder / "samples.arrow").unlink()
    with (
        reader.loader(global_batch=5, workers=1) as loader,
        pytest.raises(LoaderWorkerError, match=r"samples\.arrow"),
    ):
        next(iter(loader))
