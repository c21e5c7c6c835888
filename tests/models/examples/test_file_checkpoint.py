"""The file holds the last complete checkpoint, and only data."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any, NoReturn

import pytest

from mien.ingest.errors import StorageError

torch = pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
from mien.models.examples.checkpoint import FileCheckpoint  # noqa: E402


def test_every_rank_loads_saved_state(tmp_path: Path) -> None:
    state = {"model": {"weight": torch.arange(3.0)}, "loader": {"seed": 7, "hash": "ab"}, "step": 4}
    FileCheckpoint(tmp_path / "new", rank=0).save(state, {})
    found = FileCheckpoint(tmp_path / "new", rank=1).load()
    assert found is not None
    assert torch.equal(found["model"]["weight"], state["model"]["weight"])  # type: ignore[index]
    assert (found["loader"], found["step"]) == (state["loader"], 4)


def test_only_rank_0_writes(tmp_path: Path) -> None:
    files = FileCheckpoint(tmp_path, rank=1)
    files.save({"step": 1}, {})
    assert files.load() is None


def test_killed_writer_leaves_last_checkpoint(tmp_path: Path) -> None:
    files = FileCheckpoint(tmp_path, rank=0)
    files.save({"step": 1}, {})
    pid = os.fork()
    if pid == 0:

        class Deadly:
            def __reduce__(self) -> NoReturn:
                os._exit(9)  # in the middle of the file

        try:
            files.save({"step": 2, "filler": torch.zeros(1000), "deadly": Deadly()}, {})
        finally:
            os._exit(0)
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) == 9
    assert files.load() == {"step": 1}


class Command:
    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch ran",)


def test_checkpoint_cannot_run_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"step": Command()}, tmp_path / "checkpoint.pt")
    with pytest.raises(pickle.UnpicklingError):
        FileCheckpoint(tmp_path, rank=0).load()
    assert not (tmp_path / "ran").exists()


def test_names_unwritable_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match=r"^writing .*/checkpoint\.pt: "):
        FileCheckpoint(tmp_path / "file", rank=0).save({"step": 1}, {})
