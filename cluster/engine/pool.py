"""One stage's workers and the queue in front of them: what to run next, and where."""

from __future__ import annotations

from collections import deque
from itertools import islice

from mien.cluster.engine.backends.interface import Backend
from mien.cluster.engine.interface import MIB, PoolSnapshot, PoolSpec
from mien.cluster.engine.quarantine import QuarantineQueue
from mien.cluster.engine.worker import Call, Inbox, Kind, Task, Worker, spawn

_LOOK_AHEAD = 8
_HOMES_KEPT = 4096
_FIRST_GUESS_BYTES = 8 * MIB


class Pool:
    """Every operation is O(1) in the number of workers and of queued items, where nothing goes wrong."""

    def __init__(self, spec: PoolSpec, *, pickled_stage: bytes, before: Pool | None, last: bool) -> None:
        self.spec = spec
        self.gathers = spec.gathers
        self.next: Pool | None = None
        self._before = before
        if before is not None:
            before.next = self
        self._pickled_stage = pickled_stage
        self._last = last
        self.workers: set[Worker] = set()
        self.queue: deque[Task] = deque()
        self.suspects = QuarantineQueue(spec.deadline)
        self.queued_bytes = 0
        self.peak_queued = self.peak_queued_bytes = 0
        self.promised = 0
        self.promised_bytes = 0
        feeding = (before or self).spec
        self.cap = max(spec.queue_items, feeding.workers * feeding.in_flight)
        self._largest_output = _FIRST_GUESS_BYTES
        self._first_guess = True
        self._buckets: list[dict[Worker, None]] = [{} for _ in range(spec.in_flight)]
        """Workers open to a new task, by the number of calls they have."""
        self._streaming: dict[Worker, None] = {}
        """Workers in the middle of a fan-out that may be pulled, the longest waiting first."""
        self._homes: dict[str, Worker] = {}
        self.spare_again_at = 0.0
        self.setups_failed = 0
        self.flushes_failed = 0
        self.failures_in_a_row = 0
        self.last_failure: tuple[str, str] = ("", "")
        self.calls = self.done = self.failed = self.retried = 0
        self.done_seconds = self.busy_seconds = 0.0

    # Workers

    def spawn(self, backend: Backend, inbox: Inbox, *, spare: bool = False) -> None:
        self.workers.add(spawn(backend, self.spec, self._pickled_stage, self._last, inbox, spare=spare))

    def dismiss(self, worker: Worker) -> None:
        """Ends `worker`; what it was asked is over, and the caller's to run again."""
        worker.kill()
        self.workers.discard(worker)
        self.place(worker)
        for call in worker.calls:
            self.settle(call)

    def place(self, worker: Worker) -> None:
        """Files `worker` by what it can be asked next; to be called whenever that changes."""
        if worker.bucket >= 0:
            self._buckets[worker.bucket].pop(worker, None)
            worker.bucket = -1
        self._streaming.pop(worker, None)
        if not worker.ready or worker.dead or worker.stalled or len(worker.calls) >= self.spec.in_flight:
            return
        if worker.stream is not None:
            self._streaming[worker] = None
        elif not (worker.alone or worker.leaving):
            worker.bucket = len(worker.calls)
            self._buckets[worker.bucket][worker] = None

    # The queue in front

    @property
    def queued(self) -> int:
        return len(self.queue) + len(self.suspects)

    @property
    def free_items(self) -> int:
        return self.cap - self.queued - self.promised

    def push(self, task: Task, *, front: bool = False) -> None:
        (self.queue.appendleft if front else self.queue.append)(task)
        self._count(task)

    def unqueue(self, task: Task) -> None:
        self.queue.remove(task)
        self.queued_bytes -= task.nbytes

    def push_suspect(self, task: Task) -> None:
        self.suspects.add(task)
        self._count(task)

    def clear(self, suspect: Task) -> None:
        """Unless it is being tried, or has been."""
        if suspect in self.suspects:
            self.suspects.remove(suspect)
            self.queued_bytes -= suspect.nbytes
            self.retried -= 1
            suspect.attempts -= 1
            suspect.requeued = True
            self.push(suspect, front=True)

    def _count(self, task: Task) -> None:
        self.queued_bytes += task.nbytes
        self.peak_queued = max(self.peak_queued, self.queued)
        self.peak_queued_bytes = max(self.peak_queued_bytes, self.queued_bytes)

    def promise(self) -> int | None:
        """Room in the *next* queue for one result: the bytes set aside, or None where there is no room.

        A result's size is not known before it is there: the largest so far stands for it. An empty
        queue always takes one, whatever its size.
        """
        after = self.next
        if after is None:
            return -1
        guess = self._largest_output
        if not after._takes(guess):
            return None
        after.promised += 1
        after.promised_bytes += guess
        return guess

    def _takes(self, nbytes: int) -> bool:
        return not (self.queued + self.promised) or (
            self.free_items >= 1 and self.queued_bytes + self.promised_bytes + nbytes <= self.spec.queue_bytes
        )

    def _redeem(self, promised_bytes: int) -> None:
        if self.next is not None and promised_bytes >= 0:
            self.next.promised -= 1
            self.next.promised_bytes -= promised_bytes

    def settle(self, call: Call) -> None:
        """`call` is over, one way or the other: gives back what `promise` set aside for it. Idempotent."""
        if call.settled or call.kind in (Kind.HELLO, Kind.SETUP):
            return
        call.settled = True
        self.calls -= 1
        self._redeem(call.promised_bytes)

    def saw_output(self, nbytes: int) -> None:
        self._largest_output = max(0 if self._first_guess else self._largest_output, nbytes)
        self._first_guess = False

    # The choice

    def choose(self, *, hurry: bool = False) -> tuple[Task, Worker] | None:
        """Takes the next task out of the queue, with the worker to run it; None where either is missing.
        `hurry`: nothing will come into this queue any more, whatever the pools before it have."""
        level = next((level for level, bucket in enumerate(self._buckets) if bucket), None)
        suspect = self._suspect_may_run(hurry)
        if level is None or not (self.queue or suspect):
            return None
        bucket = self._buckets[level]
        if suspect:
            if level > 0:
                return None
            worker = next((worker for worker in bucket if not worker.held), next(iter(bucket)))
            if worker.held:  # what it holds must not die with it
                self.flush(worker)
                return None
            return self._taken(self.suspects.take(), worker, alone=True)
        if self.queue[0].requeued and level > 0:
            return None
        return self._nearest(bucket)

    def _suspect_may_run(self, hurry: bool) -> bool:
        if not self.suspects:
            return False
        if not self.queue and (hurry or not self._is_supplied) and not self._innocents_run:
            return True
        return self.suspects.have_waited

    @property
    def _is_supplied(self) -> bool:
        """Whether more comes into this queue while its suspects wait. That it is empty does not say: in front
        of a stage that is faster than the one before it, it is so most of the time."""
        before = self._before
        if before is None:
            return False  # inputs come as soon as there is room
        return self.promised > 0 or (self._takes(before._largest_output) and not before._is_through)

    @property
    def _innocents_run(self) -> bool:
        """They come back to the queue if what runs before them takes their worker down."""
        return any(worker.counts and worker.ready and not worker.alone for worker in self.workers)

    @property
    def _is_through(self) -> bool:
        return self.quiet and (self._before is None or self._before._is_through)

    def _nearest(self, bucket: dict[Worker, None]) -> tuple[Task, Worker]:
        """Of the least loaded workers, one that had a task's sibling last (its decoder need not seek).
        No worker idles for that, and no task is passed over for ever."""
        front = self.queue[0]
        if not front.requeued and front.passed_over < _LOOK_AHEAD:
            for place, task in enumerate(islice(self.queue, _LOOK_AHEAD)):
                home = self._homes.get(task.parent)
                if home in bucket:
                    front.passed_over += place > 0
                    del self.queue[place]
                    return self._taken(task, home)
        task = self.queue.popleft()
        return self._taken(task, next(iter(bucket)), alone=task.blamed is not None)

    def _taken(self, task: Task, worker: Worker, *, alone: bool = False) -> tuple[Task, Worker]:
        worker.alone = alone
        self.queued_bytes -= task.nbytes
        self._homes.pop(task.parent, None)
        self._homes[task.parent] = worker
        if len(self._homes) > _HOMES_KEPT:
            del self._homes[next(iter(self._homes))]
        return task, worker

    # Submission

    def dispatch(self, *, hurry: bool = False) -> None:
        """Hands out what there is room for downstream."""
        if self.spec.fan_out:
            self._pull_streams()
        while self.queue or self.suspects:
            if not any(self._buckets):
                return
            promised = self.promise()
            if promised is None:
                return
            chosen = self.choose(hurry=hurry)
            if chosen is None:
                self._redeem(promised)
                return
            task, worker = chosen
            if self.spec.fan_out:
                worker.stream = task
                worker.stream_number += 1
                self._submit(worker, Call(Kind.PULL, task, promised_bytes=promised), first=True)
            else:
                self._submit(worker, Call(Kind.CALL, task, promised_bytes=promised))

    def _pull_streams(self) -> None:
        while self._streaming:
            promised = self.promise()
            if promised is None:
                return
            worker = next(iter(self._streaming))
            self._submit(worker, Call(Kind.PULL, worker.stream, promised_bytes=promised))

    def _submit(self, worker: Worker, call: Call, *, first: bool = False) -> None:
        task = call.task
        assert task is not None  # noqa: S101
        if call.kind is Kind.CALL:
            worker.submit(call, task.payload, task.index)
        elif first:
            worker.submit(call, worker.stream_number, task.payload, task.index)
        else:
            worker.submit(call, worker.stream_number, None, None)
        self.calls += 1
        self.place(worker)

    def flush(self, worker: Worker) -> None:
        if not worker.flushing:
            worker.submit(Call(Kind.FLUSH))
            self.calls += 1
            self.place(worker)

    # What it looks like

    @property
    def quiet(self) -> bool:
        """Nothing waits or runs here. (Between two pulls, a fan-out waits for room.)"""
        return not (self.queue or self.suspects or self.calls or self._streaming)

    def snapshot(self) -> PoolSnapshot:
        return PoolSnapshot(
            name=self.spec.name,
            queued=self.queued,
            queued_bytes=self.queued_bytes + self.promised_bytes,
            peak_queued=self.peak_queued,
            peak_queued_bytes=self.peak_queued_bytes,
            workers=len(self.workers),
            starting=sum(not worker.ready for worker in self.workers),
            busy=sum(bool(worker.calls) and worker.ready for worker in self.workers),
            held=sum(len(worker.held) for worker in self.workers),
            done=self.done,
            failed=self.failed,
            retried=self.retried,
            done_seconds=self.done_seconds,
            busy_seconds=self.busy_seconds,
            rss_bytes=sum(worker.rss_bytes for worker in self.workers),
        )
