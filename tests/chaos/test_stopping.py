"""What ends a run before its end, short of a kill: signals, a full disk, a store that refuses."""

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
from tests.chaos.fatal import start, wait_until_stopped
from tests.chaos.inputs import FACES, as_options
from tests.chaos.victims import assert_all_gone, scratch, start_run
from tests.chaos.whole import assert_same, outcome_of, sample_count
from tests.mien_command import add_and_run, mien, settings_in

pytestmark = [pytest.mark.chaos, pytest.mark.slow]


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_signal_while_ray_starts(number: int, code: int, faces: Reference, tmp_path: Path) -> None:
    """Which takes seconds; it would have SIGTERM for itself, and starts one process after the other."""
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
    """A file system of its own; the test is skipped where nothing may be mounted."""
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
def test_a_signal_lets_what_is_under_way_be_committed(
    number: signal.Signals, faces: Reference, tmp_path: Path
) -> None:
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
    ("where", "told"),
    [
        ("store", ("mien: stage shards: no room for shards in ",)),
        # Whichever does not fit: the tar, or after its commit the index beside it.
        (
            "shards",
            ("mien: stage shards: cannot publish ", "mien: writing "),
        ),
    ],
    ids=["store", "shards"],
)
def test_a_full_disk_stops_the_run_and_nothing_is_half(
    where: str, told: tuple[str, ...], faces: Reference, tmp_path: Path
) -> None:
    """The disk of everything but the catalog, or that of the published shards alone."""
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
        assert the_one_line(stopped).startswith(told)
        half = verify(settings_in(store, *flags), deep=True)
        # An index that found no room is the one thing that may be missing; the next run makes it.
        assert [fault for fault in half.faults if "its index is missing" not in fault] == []
        assert 0 < half.samples < sample_count(faces.outcome)
        assert not [path for path in full.rglob("*") if ".tmp" in path.name or path.suffix == ".part"]
        subprocess.run(["mount", "-o", "remount,size=16m", full], check=True)
        again = mien("run", "--local", *as_options(flags), folder=tmp_path)
        assert again.returncode == 0, again.stderr
        assert_same(outcome_of(store, *flags), faces.outcome)


def test_a_disk_that_is_full_for_the_catalog_too(faces: Reference, tmp_path: Path) -> None:
    with disk(tmp_path / "store", "size=900k") as store:
        add(settings_in(store, *FACES), [str(faces.films)])
        flags = (*FACES, "shards.min_free_bytes=1")
        stopped = mien("run", "--local", *as_options(flags), folder=tmp_path)
        assert stopped.returncode == 1
        assert the_one_line(stopped).startswith("mien: ")
        subprocess.run(["mount", "-o", "remount,size=16m", store], check=True)
        again = mien("run", "--local", *as_options(flags), folder=tmp_path)
        assert again.returncode == 0, again.stderr
        assert_same(outcome_of(store, *flags), faces.outcome)


def test_a_store_that_may_not_be_written_is_one_line(faces: Reference, tmp_path: Path) -> None:
    with disk(tmp_path / "ro", "ro") as closed:
        for flag, told in (
            (f"store.root={closed}/store", "mien: "),
            (f"store.shards={closed}/shards", "mien: "),
        ):
            refused = mien("run", "--local", *as_options((*FACES, flag)), folder=tmp_path)
            assert refused.returncode == 1
            assert the_one_line(refused).startswith(told)
    assert list((tmp_path / "store" / "spool").iterdir()) == []
