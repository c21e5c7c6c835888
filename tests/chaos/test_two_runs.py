"""Two runs over one catalog: at the same time, and one that sleeps until its lease has expired."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from mien.cluster.config import Settings
from mien.cluster.runner.catalog_additions import add
from mien.ingest.catalog import Catalog
from tests.chaos.conftest import Reference
from tests.chaos.films import FACES, TALK, as_options
from tests.chaos.outcome import assert_same, outcome_of
from tests.chaos.run_processes import assert_all_gone, scratch, start_run
from tests.chaos.signalling_driver import start, wait_until_stopped
from tests.mien_command import add_and_run, mien, settings_in
from tests.postgres import running_postgres

pytestmark = [pytest.mark.chaos, pytest.mark.slow]
# Short, so that a finished run soon sees whether the other one is alive. A shorter lease could expire on a
# busy machine.
LEASE = "engine.lease_seconds=20"


@pytest.fixture(params=["sqlite", "postgresql"])
def flags(request: pytest.FixtureRequest) -> Iterator[tuple[str, ...]]:
    if request.param == "sqlite":
        yield FACES
        return
    with running_postgres() as url:
        yield (*FACES, f"store.catalog={url}")


def test_two_runs_share_the_work(flags: tuple[str, ...], faces: Reference, tmp_path: Path) -> None:
    add(settings_in(tmp_path / "store", *flags), [str(faces.films)])
    both = [start("STOP", "claimed", 1, tmp_path / "store", *flags) for _ in range(2)]
    for run in both:  # each claims a video before either continues
        wait_until_stopped(run)
    for run in both:
        run.send_signal(signal.SIGCONT)
    for run in both:
        _, err = run.communicate(timeout=300)
        assert run.returncode == 0, err
    writers = {tar.name.partition("-")[0] for tar in (tmp_path / "store" / "shards").glob("*.tar")}
    assert len(writers) == 2
    assert_same(outcome_of(tmp_path / "store", *flags), faces.outcome)


def test_two_runs_on_ray_and_one_is_stopped(talk: Reference, tmp_path: Path) -> None:
    assert mien("add", talk.films, folder=tmp_path).returncode == 0
    options, store = as_options((*TALK, LEASE)), tmp_path / "store"
    with scratch() as tmp:
        first, second = (start_run(tmp_path, tmp, *options) for _ in range(2))
        while first.poll() is None and second.poll() is None and not list(store.glob("shards/*.parquet")):
            time.sleep(0.1)
        # Before the run installs its handler, the signal would kill it.
        while first.poll() is None and not _has_workers(first):
            time.sleep(0.1)
        first.terminate()
        # On a busy machine, the first may have nothing left to do when it gets the signal.
        for run, codes in ((first, {128 + signal.SIGTERM, 0}), (second, {0})):
            _, err = run.communicate(timeout=300)
            assert run.returncode in codes, err
            assert err == ""
        rerun = mien("run", *options, folder=tmp_path, TMPDIR=str(tmp))
        assert rerun.returncode == 0, rerun.stderr
        assert_all_gone(tmp)
    assert_same(outcome_of(store, *TALK), talk.outcome)


@pytest.mark.parametrize("step", ["claimed", "tar published", "committed"])
def test_run_with_an_expired_lease_does_no_harm(step: str, faces: Reference, tmp_path: Path) -> None:
    _let_lease_expire(step, faces, tmp_path / "store", FACES)


def test_run_with_an_expired_lease_on_postgresql(faces: Reference, tmp_path: Path) -> None:
    with running_postgres() as url:
        flags = (*FACES, f"store.catalog={url}")
        _let_lease_expire("tar published", faces, tmp_path / "store", flags)


def _has_workers(run: subprocess.Popen[str]) -> bool:
    with suppress(psutil.NoSuchProcess):
        started = psutil.Process(run.pid).children(recursive=True)
        return any(process.name().startswith("ray::") for process in started)
    return False


def _let_lease_expire(step: str, faces: Reference, store: Path, flags: tuple[str, ...]) -> None:
    add(settings_in(store, *flags), [str(faces.films)])
    sleeper = start("STOP", step, 2, store, *flags)
    wait_until_stopped(sleeper)
    _shorten_lease(settings_in(store, *flags))
    add_and_run(store, flags=flags)
    sleeper.send_signal(signal.SIGCONT)
    _, err = sleeper.communicate(timeout=120)
    assert sleeper.returncode == 1
    *logged, error = err.splitlines()
    assert error.startswith("mien: "), err
    assert all("[warning]" in line for line in logged), err
    assert_same(outcome_of(store, *flags), faces.outcome)


def _shorten_lease(settings: Settings) -> None:
    """Sets the lease of the sleeping run to expire in two seconds, so that the other run sees it expire. A
    short lease could expire on a busy machine before the run sleeps."""
    near = 2 - settings.engine.lease_seconds
    with Catalog.open(settings.store.catalog_url, clock=lambda: time.time() + near) as catalog:
        (run_id,) = catalog.live_runs()
        catalog.heartbeat(run_id)
