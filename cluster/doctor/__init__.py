"""Checks this machine against the configuration: one line per check, with a fix if it fails.

Exit codes of `mien doctor`: 0 if no check failed (there may be warnings), 1 if a check failed, 2 if the
configuration cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial

from mien.cluster.config import Settings
from mien.cluster.doctor import accelerators, acquisition, machine, software, storage
from mien.cluster.doctor.check import Check, CheckStatus
from mien.ingest.errors import MienError, one_line

CHECKS: dict[str, Callable[[Settings], Iterable[Check]]] = {
    "python": software.python,
    "ffmpeg": software.ffmpeg,
    "pyav": software.pyav,
    "opencv": software.opencv,
    "weights": storage.weights,
    "onnxruntime": accelerators.onnxruntime,
    "ctranslate2": accelerators.ctranslate2,
    "catalog": storage.catalog,
    "shards": storage.shards,
    "disk": storage.disk,
    **{name: partial(acquisition.examine, name) for name in acquisition.DOCTOR},
    "shared memory": machine.shared_memory,
    "open files": machine.open_files,
    "clock": machine.clock,
}

__all__ = ["CHECKS", "Check", "CheckStatus", "examine"]


def examine(settings: Settings) -> Iterator[Check]:
    """Runs all checks and yields their outcomes. A check that raises counts as failed."""
    for name, check in CHECKS.items():
        try:
            yield from check(settings)
        except MienError as error:
            yield Check.fail(name, one_line(str(error)))
        except Exception as error:
            yield Check.fail(name, f"the check raised {type(error).__name__}: {one_line(str(error))}")
