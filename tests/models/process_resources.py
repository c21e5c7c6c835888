"""The resources of this process, to compare before and after."""

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
    """Counted by their targets. Descriptors of earlier tests may disappear at any time, for example when a
    server thread notices late that its client is gone."""
    workers: frozenset[int]

    def since(self, before: Self) -> Held:
        """Resources held now that were not held before."""
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
        with suppress(FileNotFoundError):  # the descriptor of this listing
            found.append(str(descriptor.readlink()))
    return found


def _is_worker(process: psutil.Process) -> bool:
    # Other children, such as multiprocessing's resource tracker, run as long as this process.
    try:
        return any("mien.models.reader.loader.worker" in word for word in process.cmdline())
    except psutil.Error:
        return False
