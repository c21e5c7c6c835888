"""What a process holds, to compare before and after."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Held:
    descriptors: int
    shared_memory: tuple[str, ...]
    children: tuple[int, ...]


def held() -> Held:
    return Held(
        descriptors=sum(1 for _ in Path("/proc/self/fd").iterdir()),
        shared_memory=tuple(sorted(str(path) for path in Path("/dev/shm").iterdir())),  # noqa: S108
        children=tuple(child.pid for child in psutil.Process().children()),
    )
