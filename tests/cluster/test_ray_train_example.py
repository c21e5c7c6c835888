"""Ray Train: after a rank dies and then everything, training ends as an undisturbed run does."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import psutil
import pytest

from tests.models.talking_shards import write_talking
from tests.models.training_process import command_of, finish, kill_all, same_parameters, start

for needed in ("torch", "pandas", "tensorboardX"):
    pytest.importorskip(needed, reason=f"{needed} is not installed: pip install '.[train]'")
pytestmark = pytest.mark.slow

PROGRAM = "mien.cluster.examples.ray_train"
SAMPLES, EPOCHS, STEPS = 92, 8, 12
WAIT_SECONDS = 240.0


def options(folder: Path, out: str) -> tuple[str | Path, ...]:
    numbers = {"--global-batch": 8, "--epochs": EPOCHS, "--checkpoint-steps": 7}
    extra = [str(part) for pair in numbers.items() for part in pair]
    return (folder / "shards", "--out", folder / out, *extra)


def last_state(folder: Path) -> dict[str, Any] | None:
    """The step of the newest complete checkpoint; Ray may be deleting older ones."""
    from mien.models.examples.checkpoint import NAME, read

    for checkpoint in sorted(folder.glob("checkpoint_*/"), reverse=True):
        try:
            return read(checkpoint / NAME)
        except (OSError, RuntimeError, EOFError, UnpicklingError):  # Ray is still copying it
            continue
    return None


def wait_for(what: Callable[[], Any], run: subprocess.Popen[str]) -> Any:
    until = time.monotonic() + WAIT_SECONDS
    while time.monotonic() < until:
        found = what()
        if found:
            return found
        if run.poll() is not None:
            pytest.fail(f"it ended first: {run.communicate()[0]}")
        time.sleep(0.02)
    raise TimeoutError(f"waited {WAIT_SECONDS} s")


def ranks_of(run: subprocess.Popen[str]) -> list[psutil.Process]:
    """The process title of Ray Train workers."""
    found = psutil.Process(run.pid).children(recursive=True)
    return [process for process in found if "RayTrainWorker" in command_of(process)]


def test_training_survives_rank_and_cluster_death(tmp_path: Path) -> None:
    write_talking(tmp_path / "shards", SAMPLES)
    cache, out = tmp_path / "cache", tmp_path / "ray"
    arguments = options(tmp_path, "ray")
    run = start(PROGRAM, *arguments, "--workers", "1", "--ranks", "2", cache=cache)
    try:
        first = wait_for(lambda: last_state(out), run)
        ranks = ranks_of(run)
        assert len(ranks) == 2
        ranks[0].kill()
        again = wait_for(
            lambda: (now := ranks_of(run)) and not {p.pid for p in now} & {p.pid for p in ranks} and now, run
        )
        assert len(again) <= 2
        reached = last_state(out)
        assert reached is not None
        wait_for(lambda: (state := last_state(out)) and state["step"] > reached["step"], run)
    finally:
        kill_all(run, spare="guard.py")
    left = last_state(out)
    assert left is not None
    assert first["step"] <= reached["step"] < left["step"] < STEPS * EPOCHS
    assert 0 < left["loader"]["samples_consumed"] < SAMPLES, "mid-epoch"

    output = finish(start(PROGRAM, *arguments, "--ranks", "1", cache=cache))
    assert f"done: step {STEPS * EPOCHS}," in output
    finish(start("mien.models.examples.speaking", *options(tmp_path, "undisturbed"), cache=cache))
    undisturbed = last_state_of_file(tmp_path / "undisturbed")
    ended = last_state(out)
    assert ended is not None
    assert same_parameters(ended, undisturbed)


def last_state_of_file(folder: Path) -> dict[str, Any]:
    from mien.models.examples.checkpoint import NAME, read

    return read(folder / NAME)
