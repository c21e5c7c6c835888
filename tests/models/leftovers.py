"""What a process holds, to compare before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Held:
    descriptors: int
    workers: tuple[int, ...]


def held() -> Held:
    return Held(
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        workers=tuple(child.pid for child in psutil.Process().children() if _is_worker(child)),
    )


def _is_worker(process: psutil.Process) -> bool:
    # multiprocessing's resource tracker, for one, stays for as long as the process.
    try:
        return any("models.reading.loader.worker" in word for word in process.cmdline())
    except psutil.Error:
        return False
