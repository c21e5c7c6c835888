"""Ends what a session of workers leaves behind, however its driver ended: run as a program by `guard`.

    python watchdog.py DRIVER_PID VARIABLE FOLDER < pipe held open by the driver

The pipe closes when the driver is gone, kill -9 included. Ray ties its raylet to the driver, but the
raylet's agents outlive it, and so does a worker that is busy and what it had started: they are found by the
files they hold open under FOLDER, or by VARIABLE=FOLDER in their environment. Standard library only.
"""

import os
import shutil
import signal
import sys
import time
from pathlib import Path

AFTER_A_DEATH_SECONDS = 3.0


def remains(driver_pid: int, variable: str, folder: str) -> list[int]:
    """Processes of the session that still run."""
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
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def main() -> None:
    driver_pid, variable, folder = int(sys.argv[1]), sys.argv[2], sys.argv[3]
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    sys.stdin.read()
    clear(driver_pid, variable, folder)
    # A process that the driver was just starting bears no mark yet.
    late = time.monotonic() + AFTER_A_DEATH_SECONDS
    while os.getppid() != driver_pid and time.monotonic() < late:
        time.sleep(0.2)
        clear(driver_pid, variable, folder)


def clear(driver_pid: int, variable: str, folder: str) -> None:
    for _ in range(50):
        pids = remains(driver_pid, variable, folder)
        if not pids:
            break
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                continue
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
