"""Queues of batches being built: tasks go in, batches come out in order. Batches are built in this process or
by a pool of workers."""

from __future__ import annotations

import time
import weakref
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable

from mien.ingest.errors import LoaderTimeoutError, UsageError
from mien.models.reader.data import Collate
from mien.models.reader.loader.batch_builder import BatchBuilder, BatchTask, EncodedBatch, OnError
from mien.models.reader.loader.buffers import HELD, BufferPool, anonymous_files, close_all
from mien.models.reader.loader.worker import (
    DECODING,
    IDLE,
    Assignment,
    BuildRequest,
    Failed,
    WorkerStatus,
    shared_marks,
)
from mien.models.reader.loader.worker_pool import WorkerPool
from mien.models.reader.log import REPORT_SECONDS, logger
from mien.models.reader.store.shard_source import ShardSourceSpec

_POLL_SECONDS = 1.0


class BatchQueue(ABC):
    buffers: BufferPool

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """Whether another task may be submitted."""

    @abstractmethod
    def wait_for_room(self) -> None:
        """Waits until cancelled tasks have left the queue. Raises LoaderWorkerError, LoaderTimeoutError."""

    @abstractmethod
    def submit(self, task: BatchTask) -> None: ...

    @abstractmethod
    def get(self, number: int) -> tuple[int, EncodedBatch]:
        """(buffer, batch) of the oldest submitted task. The caller releases the buffer. Raises the error that
        building the batch raised, LoaderWorkerError, LoaderTimeoutError."""

    @abstractmethod
    def cancel_all(self) -> None:
        """Drops all submitted tasks and their results."""

    @abstractmethod
    def close(self) -> None: ...


class InProcessQueue(BatchQueue):
    def __init__(self, builder: BatchBuilder) -> None:
        self.buffers = BufferPool(1 + HELD)
        self._builder = builder
        self._tasks: deque[BatchTask] = deque()
        self._closed = False

    @property
    def has_room(self) -> bool:
        return not self._tasks

    def wait_for_room(self) -> None:
        pass

    def submit(self, task: BatchTask) -> None:
        self._tasks.append(task)

    def get(self, number: int) -> tuple[int, EncodedBatch]:
        del number
        slot = self.buffers.acquire()
        try:
            encoded = self._builder.build(self._tasks[0], self.buffers.slots[slot])
        except BaseException:
            self.buffers.release(slot)
            raise
        self._tasks.popleft()
        return slot, encoded

    def cancel_all(self) -> None:
        self._tasks.clear()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.buffers.close()


class WorkerQueue(BatchQueue):
    """`sizes`: the number of samples in each corpus' index. Raises UsageError if the collator cannot be
    pickled."""

    def __init__(
        self,
        sources: tuple[ShardSourceSpec, ...],
        sizes: tuple[int, ...],
        collate: Collate,
        *,
        workers: int,
        prefetch: int,
        on_error: OnError,
        verify: bool,
        timeout_seconds: float,
    ) -> None:
        if workers < 1 or prefetch < 1 or timeout_seconds <= 0:
            raise UsageError(
                "workers must be at least 0, prefetch at least 1, and timeout_seconds positive; "
                f"got {workers = }, {prefetch = }, {timeout_seconds = }"
            )
        self._prefetch, self._timeout_seconds = prefetch, timeout_seconds
        self._sources = sources
        self.buffers = BufferPool(workers * prefetch + HELD)
        self._tasks: set[int] = set()
        """Numbers of tasks that were submitted, and neither fetched nor cancelled."""
        self._results: dict[int, tuple[int, EncodedBatch | Failed]] = {}
        self._in_progress = 0
        status, *checked = shared = anonymous_files(1 + len(sources) * verify)
        self._close_files = weakref.finalize(self, close_all, shared)
        self._status = WorkerStatus(status, workers)
        for descriptor, size in zip(checked, sizes if verify else (), strict=True):
            shared_marks(descriptor, size)  # sets the file's length
        slots = tuple(slot.descriptor for slot in self.buffers.slots)
        try:
            self._pool = WorkerPool(
                lambda number: Assignment(
                    worker=number,
                    workers=workers,
                    sources=sources,
                    collate=collate,
                    on_error=on_error,
                    slots=slots,
                    status=status,
                    checked=tuple(checked),
                ),
                workers,
                (*slots, *shared),
            )
        except BaseException:
            self._release_memory()
            raise
        self._closed = False

    @property
    def pids(self) -> list[int]:
        return self._pool.pids

    @property
    def has_room(self) -> bool:
        limit = len(self._pool.workers) * self._prefetch
        return (
            self._in_progress + len(self._results) < limit
            and self._pool.least_loaded()[1] < self._prefetch
            and len(self.buffers) > 0
        )

    def submit(self, task: BatchTask) -> None:
        self._tasks.add(task.number)
        self._in_progress += 1
        self._pool.send(self._pool.least_loaded()[0], BuildRequest(task, self.buffers.acquire()))

    def wait_for_room(self) -> None:
        self._wait(lambda: self.has_room, None)

    def get(self, number: int) -> tuple[int, EncodedBatch]:
        self._wait(lambda: number in self._results, number)
        slot, result = self._results.pop(number)
        self._tasks.discard(number)
        if isinstance(result, Failed):
            self.buffers.release(slot)
            if result.trace:
                logger.error("%s", result.trace)
            raise result.error
        return slot, result

    def _wait(self, done: Callable[[], bool], number: int | None) -> None:
        started = reported = time.monotonic()
        while not done():
            self._receive(min(_POLL_SECONDS, self._timeout_seconds))
            now = time.monotonic()
            if now - started > self._timeout_seconds and not done():
                raise LoaderTimeoutError(
                    f"no batch after {now - started:.0f} s: {self._activity(number)}; find out what blocks "
                    "it, or increase timeout_seconds"
                )
            if now - reported > REPORT_SECONDS:
                reported = now
                logger.warning("waiting for a batch for %.0f s: %s", now - started, self._activity(number))

    def _receive(self, timeout_seconds: float) -> None:
        for request, result in self._pool.receive(timeout_seconds):
            self._in_progress -= 1
            if request.task.number in self._tasks:
                self._results[request.task.number] = request.slot, result
            else:
                self.buffers.release(request.slot)

    def _activity(self, number: int | None) -> str:
        """What the worker that builds this task is doing; for None, a worker with a cancelled task."""
        index = self._pool.worker_of(number)
        if index is None:
            return "no worker has this task"
        worker = self._pool.workers[index]
        name = f"worker {index} (pid {worker.process.pid})"
        if not worker.ready:
            return f"{name} is still starting"
        corpus, sample, seconds = self._status.read(index)
        if (corpus, sample) == IDLE:
            return f"{name} is idle"
        if (corpus, sample) == DECODING:
            return f"{name} has been decoding for {seconds:.0f} s"
        return (
            f"{name} has been reading from {self._sources[corpus].uri} for {seconds:.0f} s (sample {sample})"
        )

    def cancel_all(self) -> None:
        self._tasks.clear()
        for slot, _ in self._results.values():
            self.buffers.release(slot)
        self._results.clear()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._pool.close()
            self._release_memory()

    def _release_memory(self) -> None:
        self._status.close()
        self.buffers.close()
        self._close_files()
