"""One stage's workers and the queue in front of them: what to run next, and where."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from itertools import islice

from mien.cluster.engine.backends.interface import Backend
from mien.cluster.engine.interface import MIB, PoolSnapshot, PoolSpec
from mien.cluster.engine.messages import Close, Flush, Hello, Pull, Run, Setup
from mien.cluster.engine.quarantine import QuarantineQueue
from mien.cluster.engine.worker import Call, OnReply, Worker, WorkerState, WorkItem, start_worker
from mien.pipelines.stage import Stage

_LOOK_AHEAD = 8
_MAX_REMEMBERED_PARENTS = 4096
_FIRST_GUESS_BYTES = 8 * MIB


class Pool:
    """As long as nothing fails, every operation is O(1) in the number of workers and of queued items."""

    def __init__(
        self,
        spec: PoolSpec,
        *,
        pickled_stage: bytes,
        before: Pool | None,
        last: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.spec = spec
        self.aggregates = spec.aggregates
        self.clock = clock
        self.next: Pool | None = None
        self._before = before
        if before is not None:
            before.next = self
        self._pickled_stage = pickled_stage
        self._last = last
        self.workers: set[Worker] = set()
        self.closing: set[Worker] = set()
        """Workers that left the pool and close their stage."""
        self.queue: deque[WorkItem] = deque()
        self.quarantine = QuarantineQueue(spec.deadline, clock)
        self.queued_bytes = 0
        self.peak_queued = self.peak_queued_bytes = 0
        self.reserved = 0
        self.reserved_bytes = 0
        feeding = (before or self).spec
        self.cap = max(spec.queue_items, feeding.workers * feeding.in_flight)
        self._largest_output = _FIRST_GUESS_BYTES
        self._first_guess = True
        self._buckets: list[dict[Worker, None]] = [{} for _ in range(spec.in_flight)]
        """Workers that can take a new item, by their number of calls."""
        self._streaming: dict[Worker, None] = {}
        """Workers whose fan-out can be pulled, the longest waiting first."""
        self._last_worker: dict[str, Worker] = {}
        """By parent: the worker that ran its last item."""
        self.next_backup_at = 0.0
        self.failed_setups = 0
        self.failed_flushes = 0
        self.failures_in_a_row = 0
        self.last_failure: tuple[str, str] = ("", "")
        """Error class and parent of the last failed item."""
        self.calls = self.done = self.failed = self.retried = 0
        self.done_seconds = self.busy_seconds = 0.0

    # Workers

    def start_worker(self, backend: Backend, on_reply: OnReply, *, is_backup: bool = False) -> None:
        self.workers.add(
            start_worker(
                backend,
                self.spec,
                self._pickled_stage,
                last=self._last,
                on_reply=on_reply,
                clock=self.clock,
                is_backup=is_backup,
            )
        )

    def kill_worker(self, worker: Worker) -> None:
        """Kills `worker`. Its calls end; the caller returns their items to the queue."""
        worker.kill()
        self._remove(worker)

    def close_worker(self, worker: Worker) -> None:
        """Removes `worker`. An idle worker closes its stage first."""
        if worker.can_close and self.stage_has_close:
            worker.close()
            self.closing.add(worker)
            self._remove(worker)
        else:
            self.kill_worker(worker)

    @property
    def stage_has_close(self) -> bool:
        return type(self.spec.stage).close is not Stage.close

    def end_closing(self, worker: Worker) -> None:
        """`worker` has closed its stage, or its time for that is over."""
        worker.kill()
        self.closing.discard(worker)

    def _remove(self, worker: Worker) -> None:
        self.workers.discard(worker)
        self.place(worker)
        for call in worker.calls:
            self.close_call(call)

    def place(self, worker: Worker) -> None:
        """Updates the bucket of `worker`. Must be called after every change of what it can take next."""
        if worker.bucket >= 0:
            self._buckets[worker.bucket].pop(worker, None)
            worker.bucket = -1
        self._streaming.pop(worker, None)
        if not worker.started or worker.stalled or len(worker.calls) >= self.spec.in_flight:
            return
        if worker.stream is not None:
            self._streaming[worker] = None
        elif worker.state is WorkerState.READY:
            worker.bucket = len(worker.calls)
            self._buckets[worker.bucket][worker] = None

    # The queue in front

    @property
    def queued(self) -> int:
        return len(self.queue) + len(self.quarantine)

    @property
    def free_items(self) -> int:
        return self.cap - self.queued - self.reserved

    def push(self, item: WorkItem, *, front: bool = False) -> None:
        (self.queue.appendleft if front else self.queue.append)(item)
        self._count(item)

    def unqueue(self, item: WorkItem) -> None:
        self.queue.remove(item)
        self.queued_bytes -= item.nbytes

    def push_quarantined(self, item: WorkItem) -> None:
        self.quarantine.add(item)
        self._count(item)

    def clear(self, item: WorkItem) -> None:
        """Takes back the charge against `item`, unless its retry has already begun."""
        if item in self.quarantine:
            self.quarantine.remove(item)
            self.queued_bytes -= item.nbytes
            self.retried -= 1
            item.attempts -= 1
            item.requeued = True
            self.push(item, front=True)

    def _count(self, item: WorkItem) -> None:
        self.queued_bytes += item.nbytes
        self.peak_queued = max(self.peak_queued, self.queued)
        self.peak_queued_bytes = max(self.peak_queued_bytes, self.queued_bytes)

    # Room for results

    def reserve_output(self) -> int | None:
        """Reserves room in the *next* queue for one result.

        Returns the reserved bytes, -1 if there is no next queue, or None if there is no room.

        The size of a result is unknown until it exists, so the largest result so far is assumed. An empty
        queue always accepts one result, whatever its size.
        """
        after = self.next
        if after is None:
            return -1
        guess = self._largest_output
        if not after._has_room(guess):
            return None
        after.reserved += 1
        after.reserved_bytes += guess
        return guess

    def _has_room(self, nbytes: int) -> bool:
        return not (self.queued + self.reserved) or (
            self.free_items >= 1 and self.queued_bytes + self.reserved_bytes + nbytes <= self.spec.queue_bytes
        )

    def release_output(self, reserved_bytes: int) -> None:
        if self.next is not None and reserved_bytes >= 0:
            self.next.reserved -= 1
            self.next.reserved_bytes -= reserved_bytes

    def saw_output(self, nbytes: int) -> None:
        self._largest_output = max(0 if self._first_guess else self._largest_output, nbytes)
        self._first_guess = False

    def close_call(self, call: Call) -> None:
        """`call` has ended, in whatever way: releases its reserved room. Idempotent."""
        if call.closed or isinstance(call.request, Hello | Setup | Close):
            return
        call.closed = True
        self.calls -= 1
        self.release_output(call.reserved_bytes)

    def reopen_call(self, call: Call, reserved_bytes: int) -> None:
        """A revoked call counts again."""
        self.calls += 1
        call.reserved_bytes = reserved_bytes
        call.revoked = call.closed = False

    # The choice

    def choose(self, *, no_more_input: bool = False) -> tuple[WorkItem, Worker] | None:
        """Takes the next item out of the queue, with the worker that will run it. None if either is missing.

        `no_more_input`: no item will enter this queue any more, whatever the pools before it contain.
        """
        level = next((level for level, bucket in enumerate(self._buckets) if bucket), None)
        from_quarantine = self._quarantine_may_run(no_more_input)
        if level is None or not (self.queue or from_quarantine):
            return None
        bucket = self._buckets[level]
        if from_quarantine:
            if level > 0:
                return None
            worker = next((worker for worker in bucket if not worker.held), next(iter(bucket)))
            if worker.held:  # its held items must not be lost with it
                self.flush(worker)
                return None
            return self._take(self.quarantine.take(), worker, alone=True)
        if self.queue[0].requeued and level > 0:
            return None
        return self._take_near(bucket)

    def _quarantine_may_run(self, no_more_input: bool) -> bool:
        if not self.quarantine:
            return False
        if not self.queue and (no_more_input or not self._is_supplied) and not self._others_run:
            return True
        return self.quarantine.first_is_due

    @property
    def _is_supplied(self) -> bool:
        """Whether more items will enter this queue while items wait in quarantine. An empty queue is no
        evidence: in front of a stage that is faster than the one before it, the queue is empty most of the
        time."""
        before = self._before
        if before is None:
            return False  # inputs arrive as soon as there is room
        return self.reserved > 0 or (self._has_room(before._largest_output) and not before._is_finished)

    @property
    def _others_run(self) -> bool:
        """Whether items run that return to the queue if a call before them kills their worker."""
        return any(
            worker.has_counting_calls and worker.started and worker.state is not WorkerState.EXCLUSIVE
            for worker in self.workers
        )

    @property
    def _is_finished(self) -> bool:
        return self.quiet and (self._before is None or self._before._is_finished)

    def _take_near(self, bucket: dict[Worker, None]) -> tuple[WorkItem, Worker]:
        """Among the least loaded workers, prefers one whose last item has the same parent: its decoder need
        not seek. No worker idles for this, and no item is passed over indefinitely."""
        front = self.queue[0]
        if not front.requeued and front.passed_over < _LOOK_AHEAD:
            for place, item in enumerate(islice(self.queue, _LOOK_AHEAD)):
                worker = self._last_worker.get(item.parent)
                if worker in bucket:
                    front.passed_over += place > 0
                    del self.queue[place]
                    return self._take(item, worker)
        item = self.queue.popleft()
        return self._take(item, next(iter(bucket)), alone=item.blamed is not None)

    def _take(self, item: WorkItem, worker: Worker, *, alone: bool = False) -> tuple[WorkItem, Worker]:
        if alone:
            worker.transition(WorkerState.EXCLUSIVE)
        self.queued_bytes -= item.nbytes
        self._last_worker.pop(item.parent, None)
        self._last_worker[item.parent] = worker
        if len(self._last_worker) > _MAX_REMEMBERED_PARENTS:
            del self._last_worker[next(iter(self._last_worker))]
        return item, worker

    # Submission

    def dispatch(self, *, no_more_input: bool = False) -> None:
        """Submits as many items as the next queue has room for."""
        if self.spec.fans_out:
            self._pull_streams()
        while self.queue or self.quarantine:
            if not any(self._buckets):
                return
            reserved_bytes = self.reserve_output()
            if reserved_bytes is None:
                return
            chosen = self.choose(no_more_input=no_more_input)
            if chosen is None:
                self.release_output(reserved_bytes)
                return
            item, worker = chosen
            if self.spec.fans_out:
                worker.stream = item
                worker.stream_number += 1
                first_pull = Pull(worker.stream_number, starts=True, index=item.index)
                self._submit(worker, Call(first_pull, item, reserved_bytes=reserved_bytes))
            else:
                self._submit(worker, Call(Run(item.index), item, reserved_bytes=reserved_bytes))

    def _pull_streams(self) -> None:
        while self._streaming:
            reserved_bytes = self.reserve_output()
            if reserved_bytes is None:
                return
            worker = next(iter(self._streaming))
            pull = Pull(worker.stream_number)
            self._submit(worker, Call(pull, worker.stream, reserved_bytes=reserved_bytes))

    def _submit(self, worker: Worker, call: Call) -> None:
        item, request = call.item, call.request
        if item is None or (isinstance(request, Pull) and not request.starts):
            worker.submit(call)
        else:
            worker.submit(call, item.payload)
        self.calls += 1
        self.place(worker)

    def flush(self, worker: Worker) -> None:
        if not worker.flushing:
            self._submit(worker, Call(Flush()))

    # State

    @property
    def quiet(self) -> bool:
        """Nothing waits or runs here. A fan-out that waits for room between two pulls counts as waiting."""
        return not (self.queue or self.quarantine or self.calls or self._streaming)

    def snapshot(self) -> PoolSnapshot:
        return PoolSnapshot(
            name=self.spec.name,
            queued=self.queued,
            queued_bytes=self.queued_bytes + self.reserved_bytes,
            peak_queued=self.peak_queued,
            peak_queued_bytes=self.peak_queued_bytes,
            workers=len(self.workers),
            starting=sum(not worker.started for worker in self.workers),
            busy=sum(bool(worker.calls) and worker.started for worker in self.workers),
            held=sum(len(worker.held) for worker in self.workers),
            done=self.done,
            failed=self.failed,
            retried=self.retried,
            done_seconds=self.done_seconds,
            busy_seconds=self.busy_seconds,
            rss_bytes=sum(worker.rss_bytes for worker in self.workers),
        )
