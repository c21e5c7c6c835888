"""A temporary folder for a session of workers, and a watchdog process that kills what the session leaves.

`Guard` runs this file as a program:

    python guard.py DRIVER_PID VARIABLE FOLDER < pipe held open by the driver

The pipe closes when the driver ends, also by kill -9. Ray ties its raylet to the driver, but the raylet's
agents outlive it, and so do busy workers and the processes that they started. The watchdog finds them by the
files that they hold open under FOLDER, or by VARIABLE=FOLDER in their environment. Standard library only.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

MARK = "MIEN_SESSION_FOLDER"
"""The environment variable that marks the processes of a session."""
AFTER_A_DEATH_SECONDS = 3.0


class Guard:
    def __init__(self) -> None:
        self.folder = _short_folder()
        command = [sys.executable, "-I", __file__, str(os.getpid()), MARK, self.folder]
        self._watchdog = subprocess.Popen(  # noqa: S603
            command, stdin=subprocess.PIPE, start_new_session=True
        )

    def close(self) -> None:
        """Returns when all marked processes have ended and the folder is deleted."""
        if self._watchdog.stdin is not None:
            self._watchdog.stdin.close()
        with suppress(subprocess.TimeoutExpired):
            self._watchdog.wait(timeout=15)


def _short_folder() -> str:
    """Ray creates sockets below it. Their paths may have 107 characters, and Ray itself uses about 65."""
    parent = tempfile.gettempdir()
    return tempfile.mkdtemp(prefix="mien-", dir=parent if len(parent) <= 24 else "/tmp")  # noqa: S108


# The watchdog


def find_leftovers(driver_pid: int, variable: str, folder: str) -> list[int]:
    """Processes of the session that still run, except the driver."""
    marker = f"{variable}={folder}\0".encode()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        pid = int(process.name)
        if pid in (os.getpid(), driver_pid):
            continue
        try:
            if marker in (process / "environ").read_bytes() + b"\0" or any(
                str(link.readlink()).startswith(folder + "/") for link in (process / "fd").iterdir()
            ):
                found.append(pid)
        except OSError:  # it has ended, or belongs to another user
            continue
    return found


def kill_leftovers(driver_pid: int, variable: str, folder: str) -> None:
    for _ in range(50):
        pids = find_leftovers(driver_pid, variable, folder)
        if not pids:
            break
        for pid in pids:
            with suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def main() -> None:
    driver_pid, variable, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    kill_leftovers(driver_pid, variable, folder)
    # A process that the driver was just starting has no mark yet.
    deadline = time.monotonic() + AFTER_A_DEATH_SECONDS
    while os.getppid() != driver_pid and time.monotonic() < deadline:
        time.sleep(0.2)
        kill_leftovers(driver_pid, variable, folder)


if __name__ == "__main__":
    main()
