"""Kills the driver between any two steps of the commit, and again during the recovery."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mien.cluster.runner.catalog_additions import add
from tests.chaos.conftest import Reference
from tests.chaos.films import FACES
from tests.chaos.outcome import assert_same, outcome_of
from tests.chaos.signalling_driver import STEPS, start
from tests.mien_command import add_and_run, settings_in

OCCURRENCES = {"claimed": 2, "run not ended": 1}
"""The occurrence at which the driver is killed. Default: the third, after two committed shards."""


def add_films(store: Path, films: Path) -> None:
    add(settings_in(store, *FACES), [str(films)])


def die(step: str, occurrence: int, store: Path) -> None:
    driver = start("KILL", step, occurrence, store, *FACES)
    _, err = driver.communicate(timeout=300)
    assert driver.returncode == -signal.SIGKILL, err


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.parametrize("step", STEPS)
def test_kill_between_commit_steps_changes_nothing(step: str, faces: Reference, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add_films(store, faces.films)
    die(step, OCCURRENCES.get(step, 3), store)
    add_and_run(store, flags=FACES)
    assert_same(outcome_of(store, *FACES), faces.outcome)


@pytest.mark.chaos
@pytest.mark.slow
def test_kills_during_recovery_change_nothing(faces: Reference, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add_films(store, faces.films)
    die("committed", 2, store)
    for step in ("sidecar written", "sidecar published", "sidecar marked", "claimed", "tar published"):
        die(step, 1, store)
    add_and_run(store, flags=FACES)
    assert_same(outcome_of(store, *FACES), faces.outcome)
