"""File locks between processes of one machine, and the check that a path still names an open file.

The locks are flock(2): the kernel releases them when their holder dies, even by SIGKILL. Opening a file and
locking it are two steps, and the path may be renamed, replaced or deleted between them. So after every lock,
check `is_at`.
"""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.ingest.errors import LoaderTimeoutError

logger = logging.getLogger("mien.locks")

POLL_SECONDS = 0.05
REPORT_SECONDS = 5.0
"""How often `wait_lock` logs that it is still waiting."""


def is_at(descriptor: int, path: Path) -> bool:
    """Whether `path` still names the file behind `descriptor`. A path that no longer exists does not.

    Raises:
        OSError: the path cannot be looked up for another reason, such as missing permissions.
    """
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except OSError as error:
        # ESTALE: another machine deleted the file on NFS.
        if error.errno in {errno.ENOENT, errno.ENOTDIR, errno.ESTALE}:
            return False
        raise


def lock(descriptor: int, *, shared: bool = False) -> None:
    """Waits for the lock, without a limit. A process that holds the other kind of lock converts it, which
    is not atomic: another process may hold the lock in between.

    Raises:
        OSError: the file system does not support locks.
    """
    fcntl.flock(descriptor, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)


def try_lock(descriptor: int, *, shared: bool = False) -> bool | None:
    """True: this process has the lock. False: another one has it. None: the file system has no locks."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def wait_lock(
    descriptor: int, activity: str, *, timeout_seconds: float, needed: Callable[[], bool] = lambda: True
) -> None:
    """Waits for the exclusive lock, and logs regularly that it waits for the process that `activity`
    ("downloads s3://…"). Returns without the lock when `needed` becomes false, or where the file system has
    no locks.

    Raises:
        LoaderTimeoutError: the other process held the lock for more than `timeout_seconds`.
    """
    started_at = reported_at = time.monotonic()
    while needed() and try_lock(descriptor) is False:
        now = time.monotonic()
        if now - started_at > timeout_seconds:
            raise LoaderTimeoutError(
                f"waited {timeout_seconds:.0f} s for another process that {activity}; "
                "check what that process is doing, or raise timeout_seconds"
            )
        if now - reported_at > REPORT_SECONDS:
            reported_at = now
            logger.warning("still waiting for another process that %s (%.0f s)", activity, now - started_at)
        time.sleep(POLL_SECONDS)


@contextmanager
def locked(path: Path, activity: str, *, timeout_seconds: float) -> Iterator[None]:
    """Holds the exclusive lock of the file at `path` during the block; creates the file if necessary."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        wait_lock(descriptor, activity, timeout_seconds=timeout_seconds)
        yield
    finally:
        os.close(descriptor)
