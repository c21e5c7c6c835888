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
    """Ray's object store lives there; without room it moves to a disk and becomes slow."""
    name = "shared memory"
    if not SHARED_MEMORY.is_dir():
        yield Check.warn(
            name, f"no {SHARED_MEMORY}: Ray keeps its objects on a disk", "run on Linux for speed"
        )
        return
    free = shutil.disk_usage(SHARED_MEMORY).free
    wanted = settings.engine.object_store_bytes or LITTLE_SHARED_BYTES
    text = f"{free / 1e9:.1f} GB free at {SHARED_MEMORY}"
    if free < wanted:
        cure = "in a container, start it with --shm-size=2g; or lower engine.object_store_bytes"
        yield Check.warn(name, f"{text}, {wanted / 1e9:.1f} GB wanted", cure)
    else:
        yield Check.ok(name, text)


def open_files(_: Settings) -> Iterator[Check]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = soft == resource.RLIM_INFINITY
    text = f"{'any number of' if unlimited else soft} open files allowed"
    cure = f"ulimit -n {65_536 if hard == resource.RLIM_INFINITY else hard}"
    if unlimited or soft >= FEW_FILES:
        yield Check.ok("open files", text)
    elif soft < TOO_FEW_FILES:
        yield Check.fail("open files", text, cure)
    else:
        yield Check.warn("open files", f"{text}; Ray wants {FEW_FILES} on many cores", cure)


def clock(settings: Settings) -> Iterator[Check]:
    """Leases compare clocks: this one must be right, and agree with that of the store's disk."""
    now = time.time()
    if now < EARLIEST_SECONDS:
        yield Check.fail("clock", f"it says {time.ctime(now)}", "set the clock, best by NTP")
        return
    folder = nearest_existing(Path(settings.store.root))
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".mien-clock-") as file:
            skew = Path(file.name).stat().st_mtime - time.time()
    except OSError:
        # That the store cannot be written is said by another check.
        skew = 0.0
    if abs(skew) > SKEW_SECONDS:
        cure = "set both clocks by NTP: leases and retries go by them"
        yield Check.warn(
            "clock", f"{folder} is on a machine whose clock is {skew:+.1f} s from this one", cure
        )
    else:
        yield Check.ok("clock", time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(now)))
