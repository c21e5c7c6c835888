"""Kills processes of a run at random times. The samples are byte for byte those of an undisturbed run.

MIEN_CHAOS_ROUNDS   number of rounds (3; `make chaos`: 20)
MIEN_CHAOS_SEED     seed of the times and victims (1)
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos.conftest import Reference
from tests.chaos.films import TALK, as_options
from tests.chaos.outcome import assert_same, outcome_of
from tests.chaos.run_processes import assert_all_gone, kill_one, scratch, start_run
from tests.mien_command import mien

ROUNDS = int(os.environ.get("MIEN_CHAOS_ROUNDS", "3"))
SEED = int(os.environ.get("MIEN_CHAOS_SEED", "1"))
VICTIMS: tuple[tuple[tuple[str, ...], ...], ...] = (
    (("driver",),),
    (("writer",),),
    (("actor",),),
    (("driver",), ("driver",)),
    (("raylet",),),
    (("writer", "driver"),),
    (("actor", "actor"),),
)
"""One entry per round, in turn: the victims in the first run, and in the run that resumes."""
MAX_RESTARTS = 4
OPTIONS = as_options(TALK)


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_kill_at_a_random_time_changes_nothing(number: int, talk: Reference, tmp_path: Path) -> None:
    rng = random.Random(SEED * 1000 + number)
    folder, latest = tmp_path, talk.seconds
    with scratch() as tmp:
        for attempt in range(5):
            folder = tmp_path / str(attempt)
            if _kill_in_turn(number, talk, folder, tmp, rng, latest=latest):
                break
            latest *= 0.75  # this run was faster than the undisturbed one
        restarts = 0
        while restarts < MAX_RESTARTS:
            rerun = mien("run", *OPTIONS, folder=folder, TMPDIR=str(tmp))
            restarts += 1
            if rerun.returncode == 0:
                break
        assert rerun.returncode == 0, rerun.stderr
        assert_all_gone(tmp)
    verified = mien("verify", *OPTIONS, folder=folder)
    assert verified.returncode == 0, verified.stdout
    assert_same(outcome_of(folder / "store", *TALK), talk.outcome)
    print(f"round {number}: {restarts} restart(s), then {verified.stdout.strip()}, identical bytes")


def _kill_in_turn(
    number: int, talk: Reference, folder: Path, tmp: Path, rng: random.Random, *, latest: float
) -> bool:
    """Returns whether anything was killed. False if the run ended before the first kill."""
    assert mien("add", talk.films, folder=folder).returncode == 0
    killed = 0
    for victims in VICTIMS[number % len(VICTIMS)]:
        began = time.monotonic()
        run = start_run(folder, tmp, *OPTIONS)
        earliest = 0.0 if victims == ("driver",) else talk.writing_from_seconds
        times = sorted(rng.uniform(earliest, max(earliest, latest)) for _ in victims)
        for kind, at_seconds in zip(victims, times, strict=True):
            time.sleep(max(0.0, began + at_seconds - time.monotonic()))
            victim = kill_one(kind, tmp, run, rng)
            what = f"killed {victim}" if victim else f"the run ended before a {kind} was killed"
            print(f"round {number}: {what} at {at_seconds:.1f} s of about {talk.seconds:.1f}")
            killed += victim is not None
        _, err = run.communicate(timeout=300)
        last_line = (err.strip().splitlines() or ["nothing"])[-1]
        print(f"round {number}: that run exited {run.returncode}, printing {last_line}")
        assert "Traceback" not in err and run.returncode != 70, err
        if set(victims) <= {"actor", "writer"}:
            assert run.returncode == 0, f"a dead worker is replaced: {err}"
        latest = earliest + (latest - earliest) / 3  # the next run has less to do
    return killed > 0
