"""A driver that dies between any two steps of the commit, and once more while it is being mended."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from mien.cluster.runner.catalog_additions import add
from tests.chaos.conftest import Reference
from tests.chaos.fatal import INSTANTS, start
from tests.chaos.inputs import FACES
from tests.chaos.whole import assert_same, outcome_of
from tests.mien_command import add_and_run, settings_in

SECOND = {"claimed": 2, "run not ended": 1}
"""At which occurrence: by default the third, when two shards have been committed."""


def add_films(store: Path, films: Path) -> None:
    add(settings_in(store, *FACES), [str(films)])


def die(instant: str, occurrence: int, store: Path) -> None:
    driver = start("KILL", instant, occurrence, store, *FACES)
    _, err = driver.communicate(timeout=300)
    assert driver.returncode == -signal.SIGKILL, err


@pytest.mark.chaos
@pytest.mark.slow
@pytest.mark.parametrize("instant", INSTANTS)
def test_a_kill_between_two_steps_of_the_commit_changes_nothing(
    instant: str, faces: Reference, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    add_films(store, faces.films)
    die(instant, SECOND.get(instant, 3), store)
    add_and_run(store, flags=FACES)
    assert_same(outcome_of(store, *FACES), faces.outcome)


@pytest.mark.chaos
@pytest.mark.slow
def test_kills_while_the_last_kill_is_being_mended(faces: Reference, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add_films(store, faces.films)
    die("committed", 2, store)
    for instant in ("sidecar written", "sidecar published", "sidecar marked", "claimed", "tar published"):
        die(instant, 1, store)
    add_and_run(store, flags=FACES)
    assert_same(outcome_of(store, *FACES), faces.outcome)
