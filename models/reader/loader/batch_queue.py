"""Tasks in, batches out: made in this process, or by a crew of workers."""

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
from mien.models.reader.loader.worker import DECODING, IDLE, Assignment, Failed, Order, WorkerStatus, marks
from mien.models.reader.loader.worker_pool import WorkerPool
from mien.models.reader.locks import REPORT_SECONDS, logger
from mien.models.reader.store.shard_source import ShardSourceSpec

_LISTEN_SECONDS = 1.0


class BatchQueue(ABC):
    pool: BufferPool

    @property
    @abstractmethod
    def has_room(self) -> bool:
        """Whether another task may be ordered."""

    @abstractmethod
    def wait_for_room(self) -> None:
        """Until what was forgotten is out of the way. Raises LoaderWorkerError, LoaderTimeoutError."""

    @abstractmethod
    def order(self, task: BatchTask) -> None: ...

    @abstractmethod
    def get(self, number: int) -> tuple[int, EncodedBatch]:
        """(slot, batch) of the task that was ordered first of those not got yet. It is the caller's to give
        the slot back. Raises what making it raised, LoaderWorkerError, LoaderTimeoutError."""

    @abstractmethod
    def forget(self) -> None:
        """Whatever was ordered is not wanted any more."""

    @abstractmethod
    def close(self) -> None: ...


class InProcessQueue(BatchQueue):
    def __init__(self, builder: BatchBuilder) -> None:
        self.pool = BufferPool(1 + HELD)
        self._builder = builder
        self._tasks: deque[BatchTask] = deque()
        self._closed = False

    @property
    def has_room(self) -> bool:
        return not self._tasks

    def wait_for_room(self) -> None:
        pass

    def order(self, task: BatchTask) -> None:
        self._tasks.append(task)

    def get(self, number: int) -> tuple[int, EncodedBatch]:
        del number
        slot = self.pool.take()
        try:
            made = self._builder.make(self._tasks[0], self.pool.slots[slot])
        except BaseException:
            self.pool.give(slot)
            raise
        self._tasks.popleft()
        return slot, made

    def forget(self) -> None:
        self._tasks.clear()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self.pool.close()


class WorkerQueue(BatchQueue):
    """`sizes`: samples of each corpus' index. Raises UsageError where the collator cannot travel."""

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
                "workers count from 0 on, prefetch from 1, and a timeout is more than nothing; "
                f"got {workers = }, {prefetch = }, {timeout_seconds = }"
            )
        self._prefetch, self._timeout_seconds = prefetch, timeout_seconds
        self._sources = sources
        self.pool = BufferPool(workers * prefetch + HELD)
        self._tasks: set[int] = set()
        """Ordered, and neither got nor forgotten."""
        self._made: dict[int, tuple[int, EncodedBatch | Failed]] = {}
        self._under_way = 0
        status, *checked = shared = anonymous_files(1 + len(sources) * verify)
        self._end = weakref.finalize(self, close_all, shared)
        self._status = WorkerStatus(status, workers)
        for descriptor, size in zip(checked, sizes if verify else (), strict=True):
            marks(descriptor, size)  # given its length
        slots = tuple(slot.descriptor for slot in self.pool.slots)
        try:
            self._workers = WorkerPool(
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
            self._release()
            raise
        self._closed = False

    @property
    def pids(self) -> list[int]:
        return self._workers.pids

    @property
    def has_room(self) -> bool:
        enough = len(self._workers.workers) * self._prefetch
        return (
            self._under_way + len(self._made) < enough
            and self._workers.freest()[1] < self._prefetch
            and len(self.pool) > 0
        )

    def order(self, task: BatchTask) -> None:
        self._tasks.add(task.number)
        self._under_way += 1
        self._workers.give(self._workers.freest()[0], Order(task, self.pool.take()))

    def wait_for_room(self) -> None:
        self._wait(lambda: self.has_room, None)

    def get(self, number: int) -> tuple[int, EncodedBatch]:
        self._wait(lambda: number in self._made, number)
        slot, made = self._made.pop(number)
        self._tasks.discard(number)
        if isinstance(made, Failed):
            self.pool.give(slot)
            if made.trace:
                logger.error("%s", made.trace)
            raise made.error
        return slot, made

    def _wait(self, over: Callable[[], bool], number: int | None) -> None:
        begun = told = time.monotonic()
        while not over():
            self._listen(min(_LISTEN_SECONDS, self._timeout_seconds))
            now = time.monotonic()
            if now - begun > self._timeout_seconds and not over():
                raise LoaderTimeoutError(
                    f"waited {now - begun:.0f} s for a batch, {self._doing(number)}; see what keeps it, "
                    "or give a longer timeout_seconds"
                )
            if now - told > REPORT_SECONDS:
                told = now
                logger.warning("waiting for a batch for %.0f s: %s", now - begun, self._doing(number))

    def _listen(self, timeout_seconds: float) -> None:
        for order, message in self._workers.listen(timeout_seconds):
            self._under_way -= 1
            if order.task.number in self._tasks:
                self._made[order.task.number] = order.slot, message
            else:
                self.pool.give(order.slot)

    def _doing(self, number: int | None) -> str:
        """What the worker is about that makes this task, or, of None, any that was forgotten."""
        worker = self._workers.at(number)
        if worker is None:
            return "which nobody was given"
        state = self._workers.workers[worker]
        who = f"worker {worker} (pid {state.process.pid})"
        if not state.ready:
            return f"{who} is still starting"
        corpus, sample, seconds = self._status.read(worker)
        if (corpus, sample) == IDLE:
            return f"{who} has nothing to do"
        if (corpus, sample) == DECODING:
            return f"{who} has been decoding for {seconds:.0f} s"
        return (
            f"{who} has been reading from {self._sources[corpus].uri} for {seconds:.0f} s (sample {sample})"
        )

    def forget(self) -> None:
        self._tasks.clear()
        for slot, _ in self._made.values():
            self.pool.give(slot)
        self._made.clear()

    def close(self) -> None:
        if not self._closed:
            self._closed = True
            self._workers.close()
            self._release()

    def _release(self) -> None:
        self._status.close()
        self.pool.close()
        self._end()
