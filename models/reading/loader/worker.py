"""A decoding process. Started as a program of its own, not forked: it shares no lock, thread or connection
with the trainer, imports neither torch nor the trainer's script, and asks for no `if __name__ == "__main__"`
there."""

from __future__ import annotations

import os
import pickle
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import LoaderWorkerError, MienError, one_line
from mien.models.reading.data import Collate
from mien.models.reading.loader.slots import Slot
from mien.models.reading.loader.work import BatchBuilder, EncodedBatch, OnError, Task
from mien.models.reading.loader.worker_status import IDLE, WorkerStatus
from mien.models.reading.store.source import Source, SourceSpec

PARENT_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that a worker needs to know, once."""

    worker: int
    workers: int
    sources: tuple[SourceSpec, ...]
    collate: Collate
    on_error: OnError
    slots: tuple[int, ...]
    """Descriptors, inherited."""
    board: int
    checked: tuple[int, ...]
    """A descriptor a corpus of the marks that `Source` describes; none where nothing is checked."""


@dataclass(frozen=True, slots=True)
class Order:
    """Parent to worker."""

    task: Task
    slot: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to parent, once."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to parent: the batch cannot be made (or, of number -1, none)."""

    number: int
    error: MienError
    trace: str = ""


Message = Ready | EncodedBatch | Failed


def marks(descriptor: int, samples: int) -> npt.NDArray[np.uint8]:
    """(samples,) in shared memory."""
    return np.frombuffer(Slot(descriptor).mapped(max(samples, 1)), np.uint8, max(samples, 1))


def main() -> None:
    """`python -c "…main()" DESCRIPTOR PARENT`: serves orders until the parent hangs up, or is gone."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to answer
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()
    with Connection(descriptor) as parent_end:
        try:
            _serve(parent_end)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            os._exit(0)  # at once: pools and mappings need no farewell


def _serve(parent: Any) -> None:
    told = parent.recv_bytes()
    try:
        assignment: Assignment = pickle.loads(told)  # noqa: S301 - from our own parent
        board = WorkerStatus(assignment.board, assignment.workers)
        sources = []
        for corpus, spec in enumerate(assignment.sources):
            source = Source(spec, corpus=corpus, members=assignment.collate.members, checked=None)
            if assignment.checked:
                source.checked = marks(assignment.checked[corpus], len(source.index))
            sources.append(source)
        slots = [Slot(number) for number in assignment.slots]
    except Exception as error:  # told to the parent, which raises it
        parent.send(_failure(-1, error))
        return
    me = assignment.worker
    maker = BatchBuilder(
        sources,
        assignment.collate,
        assignment.on_error,
        tell=lambda corpus, sample: board.write(me, corpus, sample),
    )
    parent.send(Ready())
    while True:
        board.write(me, *IDLE)
        order: Order = parent.recv()
        message: Message
        try:
            message = maker.make(order.task, slots[order.slot])
        except Exception as error:  # told to the parent, which raises it
            message = _failure(order.task.number, error)
        parent.send(message)


def _failure(number: int, error: Exception) -> Failed:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, MienError):
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301
            return Failed(number, error)
        except Exception:  # noqa: S110 - what cannot travel is told in words
            pass
    text = one_line(f"{type(error).__name__}: {error}", 400)
    return Failed(
        number, LoaderWorkerError(f"a batch could not be made, {text}; its traceback is logged"), trace
    )


def _end_with(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)
