"""The folders in which tars grow: one for each run, held by a lock for as long as anybody works in it.

The lock is the kernel's (flock(2) on the folder itself), so it goes with its process, kill -9 included, and a
folder that can be locked alone is nobody's. Where a file system has no such locks, nothing is known, and only
what the catalog says of the run counts. So it is between machines that share the folder: over NFS a lock may
be one machine's alone, so each leaves its mark, and believes locks only where all marks are its own.
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
"""A file locked by the run's driver alone, beside the folder's own lock that its writers share."""
_MARK = "works-"
STRAGGLERS_SECONDS = 10.0
"""The writers of a killed driver follow it within a second or two, and may publish until then."""


class HeldFolder:
    """`spool/run_id`, made where it is missing, and not swept before `close()`. Raises OSError."""

    _of_this_process: ClassVar[dict[Path, list[int]]] = {}
    """Open descriptors by folder: without Ray, the driver and its writers are one."""

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
            os.close(descriptor)  # a sweeper had it between the two

    def mark_driver(self) -> None:
        """From now on others on this machine can tell whether the run's driver lives."""
        new = self.path / f"{DRIVER}.new"
        self._descriptors.append(os.open(new, os.O_RDWR | os.O_CREAT, 0o644))
        os.write(self._descriptors[-1], this_machine().encode())
        if try_lock(self._descriptors[-1]):
            new.rename(self.path / DRIVER)  # never to be seen unlocked while its owner lives
        else:
            new.unlink(missing_ok=True)

    def close(self) -> None:
        """Lets go of it, for this whole process, and removes it once no writer works in it any more."""
        while self._descriptors:
            os.close(self._descriptors.pop())
        _remove(self.path, trusting=True, wait_seconds=STRAGGLERS_SECONDS)


def driver_is_dead(spool: Path, run_id: str) -> bool:
    """Whether the run's driver worked on this machine and is gone. False: it lives, or who knows."""
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
    """Whose kernel it is that keeps the locks, since it was booted. Host names alone are not unique."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot = ""
    return f"{socket.gethostname()}-{boot}".replace("/", "_")


def sweep_spool(spool: Path, *, over: Callable[[str], bool] | None = None) -> None:
    """Removes the folders of the runs that are `over`, as soon as nobody works in them any more; where
    nothing is known of runs (None), every folder that is surely nobody's."""
    for folder in sorted(spool.iterdir()) if spool.is_dir() else ():
        if folder.is_dir() and (over is None or over(folder.name)):
            _remove(folder, trusting=over is not None, wait_seconds=STRAGGLERS_SECONDS if over else 0.0)


def _remove(folder: Path, *, trusting: bool, wait_seconds: float) -> None:
    """`trusting`: that nobody is in there, where locks do not tell."""
    if not trusting and any(mark.name != _MARK + this_machine() for mark in folder.glob(f"{_MARK}*")):
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
        if alone or trusting:
            shutil.rmtree(folder, ignore_errors=True)
    finally:
        os.close(descriptor)
