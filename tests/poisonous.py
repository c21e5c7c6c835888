"""A stage that does to chosen segments what broken codecs and drivers do. By itself, as those of the pipeline
are: its workers import what it needs, and not what a run does."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mien.pipelines.data import Segment
from mien.pipelines.stage import Resources, Stage

MEMORY_MB = 300
MOST_MB = 4000
"""Eaten by an item that nobody stops."""
BEGUN, PASSED = "begun", "passed"


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


@dataclass(kw_only=True)
class Poison(Stage):
    """Passes segments on, but for those with a fate, by title and beginning in milliseconds. Each attempt and
    each end is a line of `log`: small appends of several processes stay whole, and in order."""

    name = "poison"
    resources = Resources(memory_mb=MEMORY_MB)
    fates: dict[str, str] = field(default_factory=dict)
    log: str = ""

    def __call__(self, segment: Segment) -> Iterator[Segment]:
        name = f"{segment.media.job.video.title} {segment.start_ms}"
        self._note(BEGUN, name)
        fate = self.fates.get(name)
        if fate is not None:
            FATES[fate]()
        self._note(PASSED, name)
        yield segment

    def _note(self, what: str, name: str) -> None:
        with Path(self.log).open("a") as file:
            file.write(f"{what} {name}\n")
