"""The spool: one folder per run for unfinished tars, locked while a process uses it.

The lock is flock(2) on the folder itself. The kernel releases it when the process ends, even after kill -9,
so a folder that can be locked exclusively is unused. If the file system has no locks, only the catalog's
record of the run counts. Over NFS, a lock may be visible on one machine only. Therefore each machine leaves a
mark file, and trusts locks only if all marks are its own.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from mien.ingest.storage.file_locks import is_at, lock, try_lock

DRIVER = "driver"
"""A file in the folder that only the run's driver locks. The writers share the lock of the folder."""
_MARK = "works-"
WRITERS_END_SECONDS = 10.0
"""Maximum wait for writers. Those of a killed driver end within 2 s, and may publish until then."""


class SpoolFolder:
    """Creates and locks `spool/run_id`. It is not swept before `close()`. Raises OSError."""

    _of_this_process: ClassVar[dict[Path, list[int]]] = {}
    """Open descriptors by folder. Without Ray, the driver and its writers are one process."""

    def __init__(self, spool: Path, run_id: str) -> None:
        self.path = (spool / run_id).absolute()
        self._descriptors = self._of_this_process.setdefault(self.path, [])
        while True:
            self.path.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY)
            with contextlib.suppress(OSError):  # the file system has no locks
                lock(descriptor, shared=True)
            with contextlib.suppress(FileNotFoundError):
                (self.path / (_MARK + this_machine())).touch()
                if is_at(descriptor, self.path):
                    self._descriptors.append(descriptor)
                    return
            os.close(descriptor)  # a sweep removed the folder before it was locked

    def mark_driver(self) -> None:
        """Lets other processes on this machine check whether the run's driver is alive."""
        new = self.path / f"{DRIVER}.new"
        self._descriptors.append(os.open(new, os.O_RDWR | os.O_CREAT, 0o644))
        os.write(self._descriptors[-1], this_machine().encode())
        if try_lock(self._descriptors[-1]):
            new.rename(self.path / DRIVER)  # after locking, so that nobody sees it unlocked
        else:
            new.unlink(missing_ok=True)

    def close(self) -> None:
        """Releases all locks of this process, and removes the folder once no writer uses it."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        _remove(self.path, run_ended=True, wait_seconds=WRITERS_END_SECONDS)


def driver_is_dead(spool: Path, run_id: str) -> bool:
    """Whether the run's driver ran on this machine and has ended. False if it is alive or unknown."""
    try:
        descriptor = os.open(spool / run_id / DRIVER, os.O_RDWR)
    except OSError:
        return False
    try:
        ours = os.read(descriptor, 1000).decode(errors="replace") == this_machine()
        return ours and try_lock(descriptor) is True
    finally:
        os.close(descriptor)


def this_machine() -> str:
    """Identifies the running kernel, which holds the locks. Host names alone are not unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}-{boot}".replace("/", "_")


def sweep_spool(spool: Path, *, has_ended: Callable[[str], bool] | None = None) -> None:
    """Removes the folders of the runs for which `has_ended` is true, once no process uses them. If
    `has_ended` is None, removes only the folders whose locks show that no process uses them."""
    for folder in sorted(spool.iterdir()) if spool.is_dir() else ():
        if folder.is_dir() and (has_ended is None or has_ended(folder.name)):
            wait_seconds = WRITERS_END_SECONDS if has_ended else 0.0
            _remove(folder, run_ended=has_ended is not None, wait_seconds=wait_seconds)


def _remove(folder: Path, *, run_ended: bool, wait_seconds: float) -> None:
    """`run_ended`: the folder is removed even if the file system has no locks."""
    if not run_ended and any(mark.name != _MARK + this_machine() for mark in folder.glob(f"{_MARK}*")):
        return
    deadline = time.monotonic() + wait_seconds
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        while (alone := try_lock(descriptor)) is False:
            if time.monotonic() >= deadline:
                return
            time.sleep(0.1)
        if alone or run_ended:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
