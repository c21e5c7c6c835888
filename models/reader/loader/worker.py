"""A decoding process. Started as a program of its own, not forked: it shares no lock, thread or connection
with the trainer, imports neither torch nor the trainer's script, and asks for no `if __name__ == "__main__"`
there."""

from __future__ import annotations

import mmap
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
from mien.models.reader.data import Collate
from mien.models.reader.loader.batch_builder import BatchBuilder, BatchTask, EncodedBatch, OnError
from mien.models.reader.loader.buffers import BufferSlot
from mien.models.reader.store.shard_source import ShardSource, ShardSourceSpec

PARENT_CHECK_SECONDS = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """All that a worker needs to know, once."""

    worker: int
    workers: int
    sources: tuple[ShardSourceSpec, ...]
    collate: Collate
    on_error: OnError
    slots: tuple[int, ...]
    """Descriptors, inherited."""
    status: int
    checked: tuple[int, ...]
    """A descriptor a corpus of the marks that `ShardSource` describes; none where nothing is checked."""


@dataclass(frozen=True, slots=True)
class Order:
    """Parent to worker."""

    task: BatchTask
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
    return np.frombuffer(BufferSlot(descriptor).mapped(max(samples, 1)), np.uint8, max(samples, 1))


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
        status = WorkerStatus(assignment.status, assignment.workers)
        sources = []
        for corpus, spec in enumerate(assignment.sources):
            source = ShardSource(spec, corpus=corpus, members=assignment.collate.members, checked=None)
            if assignment.checked:
                source.checked = marks(assignment.checked[corpus], len(source.index))
            sources.append(source)
        slots = [BufferSlot(number) for number in assignment.slots]
    except Exception as error:  # told to the parent, which raises it
        parent.send(_failure(-1, error))
        return
    me = assignment.worker
    builder = BatchBuilder(
        sources,
        assignment.collate,
        assignment.on_error,
        tell=lambda corpus, sample: status.write(me, corpus, sample),
    )
    parent.send(Ready())
    while True:
        status.write(me, *IDLE)
        order: Order = parent.recv()
        message: Message
        try:
            message = builder.make(order.task, slots[order.slot])
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


_ROW = np.dtype([("corpus", "<i8"), ("sample", "<i8"), ("since", "<f8")])
DECODING = (-1, -1)
IDLE = (-2, -2)


class WorkerStatus:
    """A row a worker, in shared memory. Torn reads are of no consequence: it is only ever shown."""

    def __init__(self, descriptor: int, workers: int) -> None:
        os.ftruncate(descriptor, workers * _ROW.itemsize)
        self._rows = np.frombuffer(mmap.mmap(descriptor, workers * _ROW.itemsize), _ROW)

    def write(self, worker: int, corpus: int, sample: int) -> None:
        self._rows[worker] = (corpus, sample, time.monotonic())

    def close(self) -> None:
        self._rows = self._rows[:0].copy()  # the mapping has a descriptor of its own

    def read(self, worker: int) -> tuple[int, int, float]:
        """(corpus, sample, seconds since)."""
        corpus, sample, since = self._rows[worker].tolist()
        return corpus, sample, time.monotonic() - since if since else 0.0
