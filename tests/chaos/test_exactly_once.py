"""Kill -9 at random instants over one input: the samples are those of an undisturbed run, to the byte.

MIEN_CHAOS_ROUNDS   how many kills (3; `make chaos`: 20)
MIEN_CHAOS_SEED     of the instants and victims (1)
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from tests.chaos.conftest import Reference
from tests.chaos.inputs import TALK, as_options
from tests.chaos.victims import assert_all_gone, kill_one, scratch, start_run
from tests.chaos.whole import assert_same, outcome_of
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
"""In turn, a round each: the victims in its first run, and in the run that goes on."""
MAX_RESTARTS = 4
OPTIONS = as_options(TALK)


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.parametrize("number", range(ROUNDS))
def test_a_kill_at_a_random_instant_changes_nothing(number: int, talk: Reference, tmp_path: Path) -> None:
    rng = random.Random(SEED * 1000 + number)
    folder, latest = tmp_path, talk.seconds
    with scratch() as tmp:
        for attempt in range(5):
            folder = tmp_path / str(attempt)
            if _kill_in_turn(number, talk, folder, tmp, rng, latest=latest):
                break
            latest *= 0.75  # this time the run was faster than the undisturbed one
        restarts = 0
        while restarts < MAX_RESTARTS:
            again = mien("run", *OPTIONS, folder=folder, TMPDIR=str(tmp))
            restarts += 1
            if again.returncode == 0:
                break
        assert again.returncode == 0, again.stderr
        assert_all_gone(tmp)
    verified = mien("verify", *OPTIONS, folder=folder)
    assert verified.returncode == 0, verified.stdout
    assert_same(outcome_of(folder / "store", *TALK), talk.outcome)
    print(f"round {number}: {restarts} restart(s), then {verified.stdout.strip()}, the same to the byte")


def _kill_in_turn(
    number: int, talk: Reference, folder: Path, tmp: Path, rng: random.Random, *, latest: float
) -> bool:
    """Whether anything was killed: False where the run ended before its first victim's instant."""
    assert mien("add", talk.films, folder=folder).returncode == 0
    killed = 0
    for victims in VICTIMS[number % len(VICTIMS)]:
        began = time.monotonic()
        run = start_run(folder, tmp, *OPTIONS)
        earliest = 0.0 if victims == ("driver",) else talk.writing_from_seconds
        instants = sorted(rng.uniform(earliest, max(earliest, latest)) for _ in victims)
        for kind, instant in zip(victims, instants, strict=True):
            time.sleep(max(0.0, began + instant - time.monotonic()))
            victim = kill_one(kind, tmp, run, rng)
            what = f"killed {victim}" if victim else f"it ended before a {kind} was killed"
            print(f"round {number}: {what} at {instant:.1f} s of about {talk.seconds:.1f}")
            killed += victim is not None
        _, err = run.communicate(timeout=300)
        said = (err.strip().splitlines() or ["nothing"])[-1]
        print(f"round {number}: that run exited {run.returncode}, saying {said}")
        assert "Traceback" not in err and run.returncode != 70, err
        if set(victims) <= {"actor", "writer"}:
            assert run.returncode == 0, f"a dead worker is replaced: {err}"
        latest = earliest + (latest - earliest) / 3  # less is left for the next
    return killed > 0
