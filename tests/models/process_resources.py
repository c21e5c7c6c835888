"""What a process holds, to compare before and after."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import psutil


@dataclass(frozen=True)
class Held:
    descriptors: Counter[str]
    """By what they lead to. Others than those of the test may go at any time: a server of the tests before,
    in a thread of its own, finds out late that nobody asks it any more."""
    workers: frozenset[int]

    def since(self, before: Self) -> Held:
        """What is held and was not then."""
        return Held(self.descriptors - before.descriptors, self.workers - before.workers)


NOTHING = Held(Counter(), frozenset())


def held() -> Held:
    return Held(
        descriptors=Counter(_targets()),
        workers=frozenset(child.pid for child in psutil.Process().children() if _is_worker(child)),
    )


def _targets() -> list[str]:
    found = []
    for descriptor in Path("/proc/self/fd").iterdir():
        with suppress(FileNotFoundError):  # the one that lists them
            found.append(str(descriptor.readlink()))
    return found


def _is_worker(process: psutil.Process) -> bool:
    # multiprocessing's resource tracker, for one, stays for as long as the process.
    try:
        return any("mien.models.reader.loader.worker" in word for word in process.cmdline())
    except psutil.Error:
        return False
