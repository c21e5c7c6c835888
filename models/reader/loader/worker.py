"""A worker process, which builds batches.

It is started as a program of its own, not forked. So it shares no lock, thread or connection with the
trainer, does not import torch or the trainer's script, and needs no `if __name__ == "__main__"` there.
"""

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

_STATUS_ROW = np.dtype([("corpus", "<i8"), ("sample", "<i8"), ("since", "<f8")])
DECODING = (-1, -1)
IDLE = (-2, -2)


class WorkerStatus:
    """What each worker is doing, in shared memory: one row per worker, so that the parent can report what it
    waits for. Reads may be torn, which does not matter because the values are only displayed."""

    def __init__(self, descriptor: int, workers: int) -> None:
        os.ftruncate(descriptor, workers * _STATUS_ROW.itemsize)
        self._rows = np.frombuffer(mmap.mmap(descriptor, workers * _STATUS_ROW.itemsize), _STATUS_ROW)

    def write(self, worker: int, corpus: int, sample: int) -> None:
        self._rows[worker] = (corpus, sample, time.monotonic())

    def close(self) -> None:
        self._rows = self._rows[:0].copy()  # the mapping holds a descriptor of its own

    def read(self, worker: int) -> tuple[int, int, float]:
        """(corpus, sample, seconds since the last write)."""
        corpus, sample, since = self._rows[worker].tolist()
        return corpus, sample, time.monotonic() - since if since else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Assignment:
    """Parent to worker, once: the worker's settings."""

    worker: int
    workers: int
    sources: tuple[ShardSourceSpec, ...]
    collate: Collate
    on_error: OnError
    slots: tuple[int, ...]
    """Inherited descriptors of the buffers."""
    status: int
    """Inherited descriptor of the `WorkerStatus`."""
    checked: tuple[int, ...]
    """One descriptor per corpus, of `ShardSource.checked`. Empty if nothing is verified."""


@dataclass(frozen=True, slots=True)
class BuildRequest:
    """Parent to worker."""

    task: BatchTask
    slot: int


@dataclass(frozen=True, slots=True)
class Ready:
    """Worker to parent, once."""


@dataclass(frozen=True, slots=True)
class Failed:
    """Worker to parent: the batch cannot be built. Number -1: the worker cannot start."""

    number: int
    error: MienError
    trace: str = ""


Message = Ready | EncodedBatch | Failed


def shared_marks(descriptor: int, samples: int) -> npt.NDArray[np.uint8]:
    """(samples,) in shared memory, for `ShardSource.checked`."""
    return np.frombuffer(BufferSlot(descriptor).mapped(max(samples, 1)), np.uint8, max(samples, 1))


def main() -> None:
    """`python -c "…main()" DESCRIPTOR PARENT`: serves requests until the parent hangs up or dies."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C
    descriptor, parent = int(sys.argv[1]), int(sys.argv[2])
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()
    with Connection(descriptor) as parent_end:
        try:
            _serve(parent_end)
        except (EOFError, BrokenPipeError, ConnectionResetError):
            os._exit(0)  # immediately: thread pools and mappings need no clean-up


def _serve(parent: Any) -> None:
    message = parent.recv_bytes()
    try:
        assignment: Assignment = pickle.loads(message)  # noqa: S301 - from our own parent
        status = WorkerStatus(assignment.status, assignment.workers)
        sources = []
        for corpus, spec in enumerate(assignment.sources):
            source = ShardSource(spec, corpus=corpus, members=assignment.collate.members, checked=None)
            if assignment.checked:
                source.checked = shared_marks(assignment.checked[corpus], len(source.index))
            sources.append(source)
        slots = [BufferSlot(number) for number in assignment.slots]
    except Exception as error:  # the parent raises it
        parent.send(_failure(-1, error))
        return
    worker = assignment.worker
    builder = BatchBuilder(
        sources,
        assignment.collate,
        assignment.on_error,
        report=lambda corpus, sample: status.write(worker, corpus, sample),
    )
    parent.send(Ready())
    while True:
        status.write(worker, *IDLE)
        request: BuildRequest = parent.recv()
        reply: Message
        try:
            reply = builder.build(request.task, slots[request.slot])
        except Exception as error:  # the parent raises it
            reply = _failure(request.task.number, error)
        parent.send(reply)


def _failure(number: int, error: Exception) -> Failed:
    trace = "".join(traceback.format_exception(error))
    if isinstance(error, MienError):
        try:
            pickle.loads(pickle.dumps(error))  # noqa: S301
            return Failed(number, error)
        except Exception:  # noqa: S110 - an error that cannot be pickled is sent as text
            pass
    text = one_line(f"{type(error).__name__}: {error}", 400)
    return Failed(
        number, LoaderWorkerError(f"a batch could not be built: {text}; see the log for the traceback"), trace
    )


def _exit_with_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(PARENT_CHECK_SECONDS)
    os._exit(1)
