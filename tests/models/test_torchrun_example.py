"""models/examples/speaking.py under plain torchrun gives the same parameters after a kill and a resume.

The parameters are compared bit for bit, without a tolerance: see models/examples/exact.py.
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
"""Steps per epoch; the last batch is padded."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("torchrun")
    write_talking(folder / "shards", SAMPLES)
    return folder


def options(folder: Path, out: str, *, every: int = 7) -> tuple[str | Path, ...]:
    """With checkpoints every 7 steps all but the last one are mid-epoch."""
    numbers = {"--global-batch": BATCH, "--epochs": EPOCHS, "--checkpoint-steps": every}
    arguments = [str(part) for pair in numbers.items() for part in pair]
    return (folder / "shards", "--out", folder / out, *arguments)


def state_of(folder: Path, out: str) -> dict[str, Any]:
    from mien.models.examples.checkpoint import NAME, read

    return read(folder / out / NAME)


@pytest.fixture(scope="module")
def uninterrupted_output(folder: Path) -> str:
    """The output of one rank without torchrun."""
    return finish(start(PROGRAM, *options(folder, "uninterrupted"), cache=folder / "cache"))


@pytest.fixture(scope="module")
def uninterrupted(folder: Path, uninterrupted_output: str) -> dict[str, Any]:
    assert f"step {STEPS * EPOCHS}  " in uninterrupted_output
    state = state_of(folder, "uninterrupted")
    assert state["step"] == STEPS * EPOCHS
    return state


def test_training_reduces_loss(uninterrupted_output: str) -> None:
    losses = [
        float(line.split()[-1]) for line in uninterrupted_output.splitlines() if line.startswith("step ")
    ]
    assert len(losses) == STEPS * EPOCHS
    assert sum(losses[-STEPS:]) < 0.8 * sum(losses[:STEPS])


@pytest.mark.parametrize("ranks", [2, 4])
def test_any_world_gives_same_parameters(folder: Path, uninterrupted: dict[str, Any], ranks: int) -> None:
    run = start(
        *TORCHRUN, str(ranks), "-m", PROGRAM, *options(folder, f"world{ranks}"), cache=folder / "cache"
    )
    finish(run)
    assert same_parameters(state_of(folder, f"world{ranks}"), uninterrupted)


def test_resumes_on_one_rank_after_kill_on_two(folder: Path, uninterrupted: dict[str, Any]) -> None:
    arguments = options(folder, "killed")
    stopping = ("-m", "tests.models.stop_at_line", "step 9 ", PROGRAM)
    run = start(*TORCHRUN, "2", *stopping, *arguments, "--workers", "1", cache=folder / "cache")
    assert run.stdout is not None
    for line in run.stdout:
        if line.startswith("step 9 "):
            break
    kill_all(run)
    assert run.returncode == -9
    left = state_of(folder, "killed")
    assert 0 < left["loader"]["samples_consumed"] < SAMPLES, "mid-epoch"
    assert left["step"] < STEPS * EPOCHS
    assert not same_parameters(left, uninterrupted)

    output = finish(start(PROGRAM, *arguments, "--workers", "2", cache=folder / "cache"))
    assert f"resuming after step {left['step']}," in output
    assert f"step {left['step'] + 1} " in output
    assert f"step {left['step']} " not in output.replace(f"after step {left['step']},", "")
    assert same_parameters(state_of(folder, "killed"), uninterrupted)


def test_finished_run_is_unchanged(folder: Path, uninterrupted: dict[str, Any]) -> None:
    output = finish(start(PROGRAM, *options(folder, "uninterrupted"), cache=folder / "cache"))
    assert "step 61 " not in output
    assert same_parameters(state_of(folder, "uninterrupted"), uninterrupted)


def test_rejects_batch_not_divisible_by_ranks(folder: Path) -> None:
    run = start(
        PROGRAM, folder / "shards", "--out", folder / "odd", "--global-batch", "3", cache=folder / "cache"
    )
    output, _ = run.communicate(timeout=400)
    assert run.returncode == 1
    assert output.splitlines()[-1].startswith("mien: UsageError: the batch must be divisible by 1 ranks")
