"""models/examples/speaking.py under plain torchrun: killed, gone on with elsewhere, the same in the end.

Equal bit for bit, and not to a tolerance: see models/examples/exact.py.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.models.talking_shards import write_talking
from tests.models.training_process import finish, kill_all, same_parameters, start

pytest.importorskip("torch", reason="torch is not installed: pip install '.[train]'")
pytestmark = pytest.mark.slow

PROGRAM = "mien.models.examples.speaking"
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node")
SAMPLES, BATCH, EPOCHS = 92, 8, 5
STEPS = 12
"""An epoch's; the last batch is filled up."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchrun")
    write_talking(folder / "shards", SAMPLES)
    return folder


def options(folder: Path, out: str, *, every: int = 7) -> tuple[str | Path, ...]:
    """Checkpoints `every` 7 steps are mid-epoch, but for the last one."""
    numbers = {"--global-batch": BATCH, "--epochs": EPOCHS, "--checkpoint-steps": every}
    told = [str(part) for pair in numbers.items() for part in pair]
    return (folder / "shards", "--out", folder / out, *told)


def state_of(folder: Path, out: str) -> dict[str, Any]:
    from mien.models.examples.checkpoint import NAME, read

    return read(folder / out / NAME)


@pytest.fixture(scope="module")
def said_undisturbed(folder: Path) -> str:
    """By one rank, without torchrun."""
    return finish(start(PROGRAM, *options(folder, "undisturbed"), cache=folder / "cache"))


@pytest.fixture(scope="module")
def undisturbed(folder: Path, said_undisturbed: str) -> dict[str, Any]:
    assert f"step {STEPS * EPOCHS}  " in said_undisturbed
    state = state_of(folder, "undisturbed")
    assert state["step"] == STEPS * EPOCHS
    return state


def test_training_reduces_loss(said_undisturbed: str) -> None:
    losses = [float(line.split()[-1]) for line in said_undisturbed.splitlines() if line.startswith("step ")]
    assert len(losses) == STEPS * EPOCHS
    assert sum(losses[-STEPS:]) < 0.8 * sum(losses[:STEPS])


@pytest.mark.parametrize("ranks", [2, 4])
def test_any_world_gives_same_parameters(folder: Path, undisturbed: dict[str, Any], ranks: int) -> None:
    run = start(
        *TORCHRUN, str(ranks), "-m", PROGRAM, *options(folder, f"world{ranks}"), cache=folder / "cache"
    )
    finish(run)
    assert same_parameters(state_of(folder, f"world{ranks}"), undisturbed)


def test_resumes_on_one_rank_after_kill_on_two(folder: Path, undisturbed: dict[str, Any]) -> None:
    told = options(folder, "killed")
    stopping = ("-m", "tests.models.stop_at_line", "step 9 ", PROGRAM)
    run = start(*TORCHRUN, "2", *stopping, *told, "--workers", "1", cache=folder / "cache")
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("step 9 "):
            break
    kill_all(run)
    assert run.returncode == -9
    left = state_of(folder, "killed")
    assert 0 < left["loader"]["samples_consumed"] < SAMPLES, "mid-epoch"
    assert left["step"] < STEPS * EPOCHS
    assert not same_parameters(left, undisturbed)

    said = finish(start(PROGRAM, *told, "--workers", "2", cache=folder / "cache"))
    assert f"goes on after step {left['step']}," in said
    assert f"step {left['step'] + 1} " in said
    assert f"step {left['step']} " not in said.replace(f"after step {left['step']},", "")
    assert same_parameters(state_of(folder, "killed"), undisturbed)


def test_finished_run_is_unchanged(folder: Path, undisturbed: dict[str, Any]) -> None:
    said = finish(start(PROGRAM, *options(folder, "undisturbed"), cache=folder / "cache"))
    assert "step 61 " not in said
    assert same_parameters(state_of(folder, "undisturbed"), undisturbed)


def test_rejects_batch_not_divisible_by_ranks(folder: Path) -> None:
    run = start(
        PROGRAM, folder / "shards", "--out", folder / "odd", "--global-batch", "3", cache=folder / "cache"
    )
    said, _ = run.communicate(timeout=400)
    assert run.returncode == 1
    assert said.splitlines()[-1].startswith("mien: UsageError: 1 ranks of micro-batches of 2 must share")
