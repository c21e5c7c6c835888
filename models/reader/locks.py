"""Locks among processes of one machine that die with their holder, and that nobody waits for in silence."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from mien.ingest.errors import LoaderTimeoutError

logger = logging.getLogger("mien.reader")

POLL_SECONDS = 0.05
REPORT_SECONDS = 5.0


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Whether the lock was to be had. Where a file system knows no locks, everybody has it."""
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return True
    return True


def wait_lock(
    descriptor: int, what: str, *, timeout_seconds: float, wanted: Callable[[], bool] = lambda: True
) -> None:
    """The exclusive lock, whose holder does `what`; or none, once it is not `wanted` any more.

    Raises LoaderTimeoutError.
    """
    begun = told = time.monotonic()
    while wanted() and not try_lock(descriptor):
        now = time.monotonic()
        if now - begun > timeout_seconds:
            raise LoaderTimeoutError(
                f"waited {timeout_seconds:.0f} s for another process that {what}; see what it does, "
                "or give a longer timeout_seconds"
            )
        if now - told > REPORT_SECONDS:
            told = now
            logger.warning("waiting for another process that %s, for %.0f s now", what, now - begun)
        time.sleep(POLL_SECONDS)


@contextmanager
def locked(path: Path, what: str, *, timeout_seconds: float) -> Iterator[None]:
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        wait_lock(descriptor, what, timeout_seconds=timeout_seconds)
        yield
    finally:
        os.close(descriptor)
