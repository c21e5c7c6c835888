"""A stage that does to chosen segments what broken codecs and drivers do.

It is in a file of its own, like the stages of the pipeline: a worker imports only what the stage needs.
"""

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
UNLIMITED_MEMORY_MB = 4000
"""How much the fault `out of memory` allocates if no limit stops it."""
STARTED, FINISHED = "started", "finished"


def allocate_memory() -> None:
    blocks = []
    for _ in range(UNLIMITED_MEMORY_MB // 20):
        blocks.append(bytearray(os.urandom(20 << 20)))
        time.sleep(0.02)
    raise AssertionError(f"no limit stopped an allocation of {len(blocks) * 20} MB")


def raise_unknown() -> None:
    raise KeyError("a codec that\nnobody knows")


FAULTS: dict[str, Any] = {
    "hang": lambda: time.sleep(100_000),
    "hang in C": lambda: ctypes.PyDLL(None).sleep(100_000),  # holds the interpreter lock
    "kill": lambda: os.kill(os.getpid(), signal.SIGKILL),
    "segmentation fault": lambda: ctypes.string_at(8),
    "exit": lambda: os._exit(0),
    "raise": raise_unknown,
    "out of memory": allocate_memory,
}


@dataclass(kw_only=True)
class FaultyStage(Stage):
    """Passes segments on, except those with a fault.

    `faults` maps "<video title> <start in ms>" to a key of FAULTS. Each attempt and each success is a line of
    `log`. Several processes append to it; appends this small are atomic and keep their order.
    """

    name = "faulty"
    resources = Resources(memory_mb=MEMORY_MB)
    faults: dict[str, str] = field(default_factory=dict)
    log: str = ""

    def __call__(self, segment: Segment) -> Iterator[Segment]:
        name = f"{segment.media.job.video.title} {segment.start_ms}"
        self._append(STARTED, name)
        fault = self.faults.get(name)
        if fault is not None:
            FAULTS[fault]()
        self._append(FINISHED, name)
        yield segment

    def _append(self, event: str, name: str) -> None:
        with Path(self.log).open("a") as file:
            file.write(f"{event} {name}\n")
