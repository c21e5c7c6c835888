"""The films, and the outcomes of undisturbed runs over them."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.chaos.films import FACES, TALK, as_options, make_faces, make_talk
from tests.chaos.outcome import Outcome, outcome_of
from tests.chaos.run_processes import assert_all_gone, scratch, start_run, writers
from tests.demo_media import needs_weights
from tests.mien_command import add_and_run, mien


@dataclass(frozen=True, slots=True)
class Reference:
    films: Path
    outcome: Outcome
    seconds: float
    """Duration of the undisturbed run."""
    writing_from_seconds: float
    """Time until that run had a worker that writes shards."""


@pytest.fixture(scope="session")
def talk(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A run on Ray, in its own process."""
    needs_weights()
    folder = tmp_path_factory.mktemp("talk")
    films = make_talk(folder / "films")
    assert mien("add", films, folder=folder).returncode == 0
    with scratch() as tmp:
        began = time.monotonic()
        run = start_run(folder, tmp, *as_options(TALK))
        while run.poll() is None and not writers(tmp):
            time.sleep(0.05)
        writing = time.monotonic() - began
        _, err = run.communicate(timeout=300)
        seconds = time.monotonic() - began
        assert run.returncode == 0, err
        assert_all_gone(tmp)
    outcome = outcome_of(folder / "store", *TALK)
    assert len(list((folder / "store" / "shards").glob("*.tar"))) > 2
    return Reference(films, outcome, seconds, writing)


@pytest.fixture(scope="session")
def faces(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    """A run with `--local`."""
    needs_weights()
    folder = tmp_path_factory.mktemp("faces")
    films = make_faces(folder / "films")
    began = time.monotonic()
    add_and_run(folder / "store", films, flags=FACES)
    seconds = time.monotonic() - began
    outcome = outcome_of(folder / "store", *FACES)
    assert len(list((folder / "store" / "shards").glob("*.tar"))) > 3
    return Reference(films, outcome, seconds, 0.0)
