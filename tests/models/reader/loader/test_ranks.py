"""Finding the rank, and making ranks that listed shards at different times read the same ones."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.ingest.errors import UsageError
from mien.models.reader.loader.ranks import find_rank
from tests.models.corpora import write_corpus


@pytest.fixture(autouse=True)
def no_rank_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


def test_single_process_is_rank_0_of_1() -> None:
    assert find_rank(None, None) == (0, 1)


def test_arguments_override_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "3")

    assert find_rank(None, None) == (2, 3)
    assert find_rank(0, 4) == (0, 4)


@pytest.mark.parametrize(("rank", "world"), [(0, None), (None, 2)])
def test_rejects_rank_without_world(rank: int | None, world: int | None) -> None:
    with pytest.raises(UsageError, match="together"):
        find_rank(rank, world)


def test_rejects_non_numeric_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RANK", "first")
    monkeypatch.setenv("WORLD_SIZE", "3")
    with pytest.raises(UsageError, match="RANK='first'"):
        find_rank(None, None)


RANK = """
import sys, time
from datetime import timedelta
from pathlib import Path
import torch.distributed as dist
from mien.models.reader.shard_reader import ShardReader
from tests.models.corpora import Numbers, write_corpus

rank, folder, meeting, gone = int(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], sys.argv[4]
dist.init_process_group("gloo", f"file://{meeting}", rank=rank, world_size=2, timeout=timedelta(seconds=300))
if rank == 0:
    reader = ShardReader(folder, collate=Numbers(), cache_dir=folder.parent / "cache0", seed=7)
dist.barrier()
if rank == 1:  # it lists after another shard was committed
    write_corpus(folder, [8], first=50, name="late")
    if gone == "gone":
        for path in folder.glob("shard-001*"):
            path.unlink()
    reader = ShardReader(folder, collate=Numbers(), cache_dir=folder.parent / "cache1", seed=7)
dist.barrier()
try:
    loader = reader.loader(global_batch=6)
except Exception as error:
    print(type(error).__name__, error)
else:
    print(len(reader), len(loader), sorted(n for batch in loader for n in batch["number"].tolist()))
dist.barrier()
dist.destroy_process_group()
"""


def run(tmp_path: Path, gone: str) -> list[str]:
    folder = write_corpus(tmp_path / "corpus", [9, 9])
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(rank), str(folder), str(tmp_path / "meeting"), gone],
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        for rank in range(2)
    ]
    return [rank.communicate(timeout=400)[0] for rank in ranks]


@pytest.mark.slow
def test_ranks_agree_on_shards_of_rank_0(tmp_path: Path) -> None:
    first, second = run(tmp_path, "there")

    assert first.startswith("18 3 [")
    assert second.startswith("26 3 [")
    numbers = [
        int(n) for output in (first, second) for n in output.partition("[")[2].rstrip("]\n").split(",")
    ]
    assert sorted(numbers) == list(range(18))


@pytest.mark.slow
def test_every_rank_raises_if_ranks_disagree(tmp_path: Path) -> None:
    for output in run(tmp_path, "gone"):
        assert output.startswith("ManifestChangedError rank 0 lists other shards than this one")
        assert "shard-001.tar" in output
