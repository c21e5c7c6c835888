"""Two runs over one catalog: at once, and one that sleeps past its lease until the other is done."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cluster.runner.adding import add
from tests.chaos.conftest import Reference
from tests.chaos.fatal import start
from tests.chaos.inputs import FACES, TALK, as_options
from tests.chaos.victims import assert_all_gone, scratch, start_run
from tests.chaos.whole import assert_same, outcome_of
from tests.postgres import running_postgres
from tests.runs import mien, run_over, settings_in, start_mien

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
# Short, so that the one that is through soon knows that the other lives; not so short that a busy machine
# makes it miss one.
LEASE = "engine.lease_seconds=8"
SLEEPERS_LEASE = "engine.lease_seconds=2"


@pytest.fixture(params=["sqlite", "postgresql"])
def flags(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    if request.param == "sqlite":
        yield FACES
        return
    with running_postgres() as url:
        yield (*FACES, f"store.catalog={url}")


def test_two_runs_at_once_share_the_work(flags: tuple[str, ...], faces: Reference, tmp_path: Path) -> None:
    add(settings_in(tmp_path / "store", *flags), [str(faces.films)])
    options = ["--local", *as_options((*flags, LEASE))]
    both = [start_mien("run", *options, folder=tmp_path) for _ in range(2)]
    for run in both:
        _, err = run.communicate(timeout=120)
        assert run.returncode == 0, err
    writers = {tar.name.partition("-")[0] for tar in (tmp_path / "store" / "shards").glob("*.tar")}
    assert len(writers) == 2
    assert_same(outcome_of(tmp_path / "store", *flags), faces.outcome)


def test_two_runs_at_once_on_ray_and_one_is_stopped(talk: Reference, tmp_path: Path) -> None:
    assert mien("add", talk.films, folder=tmp_path).returncode == 0
    options, store = as_options((*TALK, LEASE)), tmp_path / "store"
    with scratch() as tmp:
        first, second = (start_run(tmp_path, tmp, *options) for _ in range(2))
        while first.poll() is None and second.poll() is None and not list(store.glob("shards/*.parquet")):
            time.sleep(0.1)
        first.terminate()
        # On a busy machine the first may have had nothing left to do when it was told to stop.
        for run, codes in ((first, {128 + signal.SIGTERM, 0}), (second, {0})):
            _, err = run.communicate(timeout=300)
            assert run.returncode in codes, err
            assert err == ""
        again = mien("run", *options, folder=tmp_path, TMPDIR=str(tmp))
        assert again.returncode == 0, again.stderr
        assert_all_gone(tmp)
    assert_same(outcome_of(store, *TALK), talk.outcome)


@pytest.mark.parametrize("instant", ["claimed", "tar published", "committed"])
def test_a_run_that_slept_past_its_lease_does_no_harm(instant: str, faces: Reference, tmp_path: Path) -> None:
    _sleep_past_the_lease(instant, faces, tmp_path / "store", FACES)


def test_a_run_that_slept_past_its_lease_on_postgresql(faces: Reference, tmp_path: Path) -> None:
    with running_postgres() as url:
        flags = (*FACES, f"store.catalog={url}")
        _sleep_past_the_lease("tar published", faces, tmp_path / "store", flags)


def _sleep_past_the_lease(instant: str, faces: Reference, store: Path, flags: tuple[str, ...]) -> None:
    add(settings_in(store, *flags), [str(faces.films)])
    sleeper = start("STOP", instant, 2, store, *flags, SLEEPERS_LEASE)
    while psutil.Process(sleeper.pid).status() != psutil.STATUS_STOPPED:
        assert sleeper.poll() is None, sleeper.communicate()
        time.sleep(0.02)
    run_over(store, flags=flags)
    sleeper.send_signal(signal.SIGCONT)
    _, err = sleeper.communicate(timeout=60)
    assert sleeper.returncode == 1
    assert err.startswith("LeaseLostError: ") and len(err.splitlines()) == 1, err
    assert_same(outcome_of(store, *flags), faces.outcome)
