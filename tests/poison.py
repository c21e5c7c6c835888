"""A run whose pipeline has one stage more: it does to chosen segments what broken codecs and drivers do.

python -m tests.poison STORE FOLDER '{"a 4760": "hang"}' KEY=VALUE…
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from cluster.runner import recipe
from pipelines.data import Segment
from pipelines.stage import Resources
from pipelines.talking_face import talking_face
from tests.runs import run_over

MEMORY_MB = 300
MOST_MB = 4000
"""Eaten by an item that nobody stops."""


def eat() -> None:
    hoard = []
    for _ in range(MOST_MB // 20):
        hoard.append(bytearray(os.urandom(20 << 20)))
        time.sleep(0.02)
    raise AssertionError(f"nobody minded {len(hoard) * 20} MB")


def stumble() -> None:
    raise KeyError("a codec that\nnobody knows")


FATES: dict[str, Any] = {
    "hang": lambda: time.sleep(100_000),
    "hang in C": lambda: ctypes.PyDLL(None).sleep(100_000),  # and hold the interpreter's lock
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "crash": lambda: ctypes.string_at(8),  # a segmentation fault
    "leave": lambda: os._exit(0),
    "raise": stumble,
    "eat": eat,
}
OUTCOMES = {
    "hang": "DeadlineExceededError",
    "hang in C": "DeadlineExceededError",
    "kill": "WorkerDiedError",
    "crash": "WorkerDiedError",
    "leave": "WorkerDiedError",
    "raise": "UnexpectedError",
    "eat": "OutOfMemoryError",
}


@dataclass(kw_only=True)
class Poison:
    """Passes segments on, but for those with a fate, by title and beginning in milliseconds."""

    name: ClassVar[str] = "poison"
    resources: Resources = field(default=Resources(memory_mb=MEMORY_MB))
    fates: dict[str, str] = field(default_factory=dict)

    def setup(self) -> None:
        pass

    def __call__(self, segment: Segment) -> Iterator[Segment]:
        fate = self.fates.get(f"{segment.media.job.video.title} {segment.start_ms}")
        if fate is not None:
            FATES[fate]()
        yield segment


def main() -> None:
    store, films, fates, *flags = sys.argv[1:]
    poison = Poison(fates=json.loads(fates))

    def poisoned(**how: Any) -> list[Any]:
        fetch, split, *rest = talking_face(**how)
        return [fetch, split, poison, *rest]

    recipe.talking_face = poisoned  # type: ignore[attr-defined]
    run_over(Path(store), Path(films), flags=tuple(flags), local=False)
