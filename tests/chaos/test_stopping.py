"""Runs that end early without a kill: signals, a full disk, a store that cannot be written."""

from __future__ import annotations

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from mien.cluster.runner.catalog_additions import add
from mien.cluster.runner.verification import verify
from tests.chaos.conftest import Reference
from tests.chaos.films import FACES, as_options
from tests.chaos.outcome import assert_same, outcome_of, sample_count
from tests.chaos.run_processes import assert_all_gone, scratch, start_run
from tests.chaos.signalling_driver import start, wait_until_stopped
from tests.mien_command import add_and_run, mien, settings_in

pytestmark = [pytest.mark.chaos, pytest.mark.slow]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_signal_while_ray_starts(number: int, code: int, faces: Reference, tmp_path: Path) -> None:
    """Ray starts its processes over several seconds, and installs its own handler of SIGTERM."""
    store = tmp_path / "store"
    add(settings_in(store, *FACES), [str(faces.films)])
    with scratch() as tmp:
        run = start_run(tmp_path, tmp, *as_options(FACES))
        while not list(tmp.glob("mien-*/session_*")):
            assert run.poll() is None, run.communicate()
            time.sleep(0.005)
        run.send_signal(number)
        run.communicate(timeout=300)
        assert run.returncode == code
        assert_all_gone(tmp)
    assert not list(store.glob("shards/*"))
    add_and_run(store, flags=FACES)
    assert_same(outcome_of(store, *FACES), faces.outcome)


@contextmanager
def disk(folder: Path, options: str) -> Iterator[Path]:
    """A separate file system. Skips the test if nothing can be mounted."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def the_one_line(finished: subprocess.CompletedProcess[str]) -> str:
    lines = finished.stderr.strip().splitlines()
    assert len(lines) == 1, finished.stderr
    return lines[0]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_signal_commits_finished_work_first(number: signal.Signals, faces: Reference, tmp_path: Path) -> None:
    store = tmp_path / "store"
    add(settings_in(store, *FACES), [str(faces.films)])
    run = start("STOP", "sidecar marked", 1, store, *FACES)
    wait_until_stopped(run)
    run.send_signal(number)
    run.send_signal(signal.SIGCONT)
    _, err = run.communicate(timeout=120)
    assert (run.returncode, err) == (128 + number, "")
    stopped = outcome_of(store, *FACES)
    assert stopped.videos["running"] == 0
    assert 0 < len(stopped.members) < len(faces.outcome.members)
    add_and_run(store, flags=FACES)
    assert_same(outcome_of(store, *FACES), faces.outcome)


@pytest.mark.parametrize(
    ("where", "messages"),
    [
        ("store", ("mien: stage shards: not enough disk space for shards in ",)),
        # The tar does not fit, or, after its commit, the index next to it.
        (
            "shards",
            ("mien: stage shards: cannot publish ", "mien: writing "),
        ),
    ],
    ids=["store", "shards"],
)
def test_full_disk_stops_the_run_consistently(
    where: str, messages: tuple[str, ...], faces: Reference, tmp_path: Path
) -> None:
    """The full disk contains everything except the catalog, or only the published shards."""
    store = tmp_path / "store"
    with disk(tmp_path / where, "size=700k") as full:
        flags: tuple[str, ...] = (*FACES, "shards.min_free_bytes=100000")
        flags += (f"store.catalog=sqlite:///{tmp_path}/catalog.sqlite",)
        if full != store:
            store.mkdir()
            (store / "shards").symlink_to(full)
        add(settings_in(store, *flags), [str(faces.films)])
        stopped = mien("run", "--local", *as_options(flags), folder=tmp_path)
        assert stopped.returncode == 1
        assert the_one_line(stopped).startswith(messages)
        verified = verify(settings_in(store, *flags), deep=True)
        # Only an index may be missing, because it did not fit. The next run writes it.
        assert [fault for fault in verified.faults if "the index is missing" not in fault] == []
        assert 0 < verified.samples < sample_count(faces.outcome)
        assert not [path for path in full.rglob("*") if ".tmp" in path.name or path.suffix == ".part"]
        subprocess.run(["mount", "-o", "remount,size=16m", full], check=True)
        rerun = mien("run", "--local", *as_options(flags), folder=tmp_path)
        assert rerun.returncode == 0, rerun.stderr
        assert_same(outcome_of(store, *flags), faces.outcome)


def test_full_disk_under_the_catalog(faces: Reference, tmp_path: Path) -> None:
    with disk(tmp_path / "store", "size=900k") as store:
        add(settings_in(store, *FACES), [str(faces.films)])
        flags = (*FACES, "shards.min_free_bytes=1")
        stopped = mien("run", "--local", *as_options(flags), folder=tmp_path)
        assert stopped.returncode == 1
        assert the_one_line(stopped).startswith("mien: ")
        subprocess.run(["mount", "-o", "remount,size=16m", store], check=True)
        rerun = mien("run", "--local", *as_options(flags), folder=tmp_path)
        assert rerun.returncode == 0, rerun.stderr
        assert_same(outcome_of(store, *flags), faces.outcome)


def test_read_only_store_is_reported_in_one_line(faces: Reference, tmp_path: Path) -> None:
    with disk(tmp_path / "ro", "ro") as read_only:
        for flag in (f"store.root={read_only}/store", f"store.shards={read_only}/shards"):
            refused = mien("run", "--local", *as_options((*FACES, flag)), folder=tmp_path)
            assert refused.returncode == 1
            assert the_one_line(refused).startswith("mien: ")
    assert list((tmp_path / "store" / "spool").iterdir()) == []
