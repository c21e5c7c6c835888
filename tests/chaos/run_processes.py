"""Finds and kills the processes of one run, which have its temporary folder in their environment."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

from mien.cluster.engine.backends.fork_server import PROCESS_NAME
from tests.mien_command import start_mien

GONE_WITHIN_SECONDS = 120.0


@contextmanager
def scratch() -> Iterator[Path]:
    """A TMPDIR for one run. Its path is short, because Ray creates sockets below it."""
    folder = Path(tempfile.mkdtemp(prefix="mc-", dir="/tmp"))
    try:
        yield folder
    finally:
        for process in processes(folder):
            with suppress(psutil.NoSuchProcess):
                process.kill()
        shutil.rmtree(folder, ignore_errors=True)


def start_run(folder: Path, tmp: Path, *options: str) -> subprocess.Popen[str]:
    return start_mien("run", *options, folder=folder, TMPDIR=str(tmp))


def processes(tmp: Path) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.environ().get("TMPDIR") == str(tmp) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def actors(tmp: Path) -> list[psutil.Process]:
    """The engine's workers that have started."""
    return [
        process
        for process in processes(tmp)
        if process.name() == PROCESS_NAME or "ray::Actor" in " ".join(_command(process))
    ]


def writers(tmp: Path) -> list[psutil.Process]:
    """The workers that have files in the run's spool open."""
    return [process for process in actors(tmp) if any("/spool/" in link for link in _open_files(process))]


def raylets(tmp: Path) -> list[psutil.Process]:
    return [process for process in processes(tmp) if Path((_command(process) or [""])[0]).name == "raylet"]


def kill_one(kind: str, tmp: Path, driver: subprocess.Popen[str], rng: random.Random) -> str | None:
    """Kills a process of this kind as soon as there is one. Returns its name; None if the run ended first."""
    choose = {"actor": actors, "writer": writers, "raylet": raylets}
    while driver.poll() is None:
        if kind == "driver":
            driver.send_signal(signal.SIGKILL)
            return f"driver {driver.pid}"
        found = choose[kind](tmp)
        if found:
            victim = rng.choice(found)
            with suppress(psutil.NoSuchProcess):
                name = (_command(victim) or ["?"])[0].rsplit("/", 1)[-1]
                os.kill(victim.pid, signal.SIGKILL)
                return f"{kind} {victim.pid} ({name})"
        time.sleep(0.05)
    return None


def assert_all_gone(tmp: Path) -> None:
    """All processes of the run and all files in its temporary folder disappear soon."""
    deadline = time.monotonic() + GONE_WITHIN_SECONDS
    while True:
        left = [f"{process.pid} {' '.join(_command(process))[:80]}" for process in processes(tmp)]
        # onnxruntime writes `.ses` when it is imported, in any process.
        files = sorted(path.name for path in tmp.iterdir() if path.name != ".ses")
        if not left and not files:
            return
        assert time.monotonic() < deadline, f"left behind: {left} {files}"
        time.sleep(0.25)


def _command(process: psutil.Process) -> list[str]:
    with suppress(psutil.Error):
        return list(process.cmdline())
    return []


def _open_files(process: psutil.Process) -> list[str]:
    links = []
    for link in Path(f"/proc/{process.pid}/fd").glob("*"):
        with suppress(OSError):
            links.append(str(link.readlink()))
    return links
