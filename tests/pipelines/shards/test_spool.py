"""A spool folder stays locked exactly as long as a process uses it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from mien.pipelines.shards import spool
from mien.pipelines.shards.spool import DRIVER, SpoolFolder, driver_is_dead, sweep_spool, this_machine

ROOT = Path(__file__).resolve().parents[3]
WORKER = """
import sys
from pathlib import Path
from mien.pipelines.shards.spool import SpoolFolder
held = SpoolFolder(Path(sys.argv[1]), sys.argv[2])
if sys.argv[3] == "driver":
    held.mark_driver()
(held.path / "a.part").touch()
print("there", flush=True)
sys.stdin.read()
"""


@contextmanager
def working(folder: Path, run_id: str, role: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-c", WORKER, str(folder), run_id, role]
    worker = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert worker.stdout is not None
    assert worker.stdout.readline() == "there\n"
    try:
        yield worker
    finally:
        worker.kill()
        worker.communicate()


def test_sweeps_folder_after_its_last_worker_ends(tmp_path: Path) -> None:
    with working(tmp_path, "one", "writer"):
        sweep_spool(tmp_path)
        assert (tmp_path / "one" / "a.part").exists()
    (tmp_path / "nobodys").mkdir()
    sweep_spool(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_sweeps_only_ended_runs_and_waits_for_writers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with working(tmp_path, "over", "writer") as straggler:
        (tmp_path / "goes-on").mkdir()

        def meanwhile(_: float) -> None:
            assert (tmp_path / "over" / "a.part").exists()
            straggler.kill()
            straggler.wait()

        monkeypatch.setattr(spool, "time", SimpleNamespace(monotonic=lambda: 0.0, sleep=meanwhile))
        sweep_spool(tmp_path, has_ended=lambda run_id: run_id == "over")
        assert straggler.returncode is not None
    assert [folder.name for folder in tmp_path.iterdir()] == ["goes-on"]


def test_distinguishes_killed_driver_from_live_one(tmp_path: Path) -> None:
    with working(tmp_path, "run", "driver") as driver:
        assert not driver_is_dead(tmp_path, "run")
        driver.kill()
        driver.wait()
        assert driver_is_dead(tmp_path, "run")
    assert not driver_is_dead(tmp_path, "of another machine")


def test_ignores_locks_of_other_machines(tmp_path: Path) -> None:
    """Over NFS, a lock may be invisible to other machines, so the folder may be in use."""
    with working(tmp_path, "run", "driver") as driver:
        driver.kill()
        driver.wait()
    assert driver_is_dead(tmp_path, "run")
    mark = tmp_path / "run" / f"works-{this_machine()}"
    mark.rename(tmp_path / "run" / "works-elsewhere")
    (tmp_path / "run" / DRIVER).write_text("elsewhere")
    assert not driver_is_dead(tmp_path, "run")
    sweep_spool(tmp_path)
    assert (tmp_path / "run" / "a.part").exists()
    sweep_spool(tmp_path, has_ended=lambda run_id: True)  # the catalog knows better
    assert list(tmp_path.iterdir()) == []


def test_close_releases_locks_of_driver_and_writer(tmp_path: Path) -> None:
    driver, writer = SpoolFolder(tmp_path, "run"), SpoolFolder(tmp_path, "run")
    driver.mark_driver()
    assert writer.path == driver.path
    driver.close()
    assert list(tmp_path.iterdir()) == []
