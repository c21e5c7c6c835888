"""Shared memory, file descriptors and the clock."""

from __future__ import annotations

import resource
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from mien.cluster.config import Settings
from mien.cluster.doctor.check import Check
from mien.cluster.doctor.storage import nearest_existing

SHARED_MEMORY = Path("/dev/shm")  # noqa: S108
LITTLE_SHARED_BYTES = 512 * 1024**2
FEW_FILES = 4096
TOO_FEW_FILES = 256
EARLIEST_SECONDS = 1_767_225_600.0  # 2026-01-01: mien is younger than that
SKEW_SECONDS = 2.0


def shared_memory(settings: Settings) -> Iterator[Check]:
    """Ray keeps its object store there. Without enough space, Ray uses a disk, which is slow."""
    name = "shared memory"
    if not SHARED_MEMORY.is_dir():
        yield Check.warn(
            name,
            f"{SHARED_MEMORY} does not exist, so Ray stores its objects on a disk",
            "run on Linux for speed",
        )
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    needed = settings.engine.object_store_bytes or LITTLE_SHARED_BYTES
    text = f"{free / 1e9:.1f} GB free at {SHARED_MEMORY}"
    if free < needed:
        fix = "start the container with --shm-size=2g, or lower engine.object_store_bytes"
        yield Check.warn(name, f"{text}, {needed / 1e9:.1f} GB needed", fix)
    else:
        yield Check.ok(name, text)


def open_files(_: Settings) -> Iterator[Check]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    text = f"{'unlimited' if unlimited else soft} open files allowed"
    fix = f"ulimit -n {65_536 if hard == resource.RLIM_INFINITY else hard}"
    if unlimited or soft >= FEW_FILES:
        yield Check.ok("open files", text)
    elif soft < TOO_FEW_FILES:
        yield Check.fail("open files", text, fix)
    else:
        yield Check.warn("open files", f"{text}; Ray needs {FEW_FILES} on many cores", fix)


def clock(settings: Settings) -> Iterator[Check]:
    """Leases compare times, so this clock must be correct and agree with the clock of the store."""
    now = time.time()
    if now < EARLIEST_SECONDS:
        yield Check.fail("clock", f"the clock shows {time.ctime(now)}", "set the clock, for example with NTP")
        return
    folder = nearest_existing(Path(settings.store.root))
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".mien-clock-") as file:
            skew = Path(file.name).stat().st_mtime - time.time()
    except OSError:
        # Another check reports that the store is not writable.
        skew = 0.0
    if abs(skew) > SKEW_SECONDS:
        fix = "synchronise both clocks with NTP; leases and retries depend on them"
        yield Check.warn(
            "clock", f"the clock of the machine that stores {folder} differs by {skew:+.1f} s", fix
        )
    else:
        yield Check.ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)))
