"""Handles the results of calls: outputs, errors, deaths, and the acknowledgement of aggregated items."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from mien.cluster.engine import stragglers
from mien.cluster.engine.backends.interface import Backend, FaultKind
from mien.cluster.engine.errors import error_from_name, is_media_fault, not_acknowledged
from mien.cluster.engine.interface import ErrorInfo, Observer
from mien.cluster.engine.messages import Flush, Hello, Output, Pull, Reply, ReplyStatus, Setup
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Call, OnReply, Worker, WorkerState, WorkItem
from mien.ingest.errors import DeadlineExceededError, Policy


class ResultHandler:
    """An exception that one of these methods raises ends the run."""

    def __init__(
        self,
        pools: Sequence[Pool],
        observer: Observer,
        on_reply: OnReply,
        backend: Backend,
        *,
        max_attempts: int,
        max_consecutive_failures: int | None,
    ) -> None:
        self._pools = {pool.spec.name: pool for pool in pools}
        self._observer = observer
        self._on_reply, self._backend = on_reply, backend
        self._max_attempts = max_attempts
        self._max_in_a_row = max_consecutive_failures
        self.retained: dict[str, tuple[Pool, WorkItem]] = {}
        """Aggregated items that were put out and that the observer has not acknowledged yet."""
        self.retained_bytes = 0

    def pool_of(self, worker: Worker) -> Pool:
        return self._pools[worker.spec.name]

    # Replies

    def on_reply(self, worker: Worker, call: Call, reply: Reply) -> None:
        pool = self.pool_of(worker)
        worker.rss_bytes = reply.rss_bytes or worker.rss_bytes
        pool.busy_seconds += reply.busy_seconds
        if isinstance(call.request, Setup):
            self._on_setup(pool, worker, reply.error)
            return
        if isinstance(call.request, Hello):
            return
        if call.revoked:
            if reply.error is not None and reply.error.error_class == "OutOfMemoryError":
                self.replace(worker, None)
            pool.place(worker)
            return
        stream_continues = isinstance(call.request, Pull) and reply.status is ReplyStatus.OK
        if reply.status is not ReplyStatus.NO_STREAM and not stream_continues:
            worker.end_exclusive()
        if reply.error is not None:
            self._on_exception(pool, worker, call, reply.error)
        elif reply.status is not ReplyStatus.NO_STREAM:
            self._on_success(pool, worker, call, reply)
        pool.place(worker)

    def _on_setup(self, pool: Pool, worker: Worker, error: ErrorInfo | None) -> None:
        if error is not None and worker.is_backup:
            self.replace(worker, None)
            return
        if error is not None:
            raise error_from_name(error.error_class, f"stage {pool.spec.name} cannot start: {error.text}")
        worker.transition(WorkerState.READY)
        pool.failed_setups = 0
        pool.place(worker)

    def _on_success(self, pool: Pool, worker: Worker, call: Call, reply: Reply) -> None:
        pool.failures_in_a_row = 0
        item = call.item
        if isinstance(call.request, Pull) and item is not None:
            ended = reply.status is ReplyStatus.STREAM_ENDED
            self._on_pulled(pool, worker, call, item, ended=ended, outputs=reply.outputs)
            return
        if item is not None:
            pool.done += 1
            pool.done_seconds += item.seconds
            if pool.aggregates:
                worker.hold(item)
            elif len(reply.outputs) != 1:
                self._observer.exhausted(item.key, len(reply.outputs))
        for output in reply.outputs:
            for key in output.acknowledges:
                self._retain(pool, worker, key)
            self._pass_on(pool, output, call.payload, None if item is None else item.parent)
        if isinstance(call.request, Flush):
            pool.failed_flushes = 0
            for key in list(worker.held):  # no item may be lost silently
                missing = worker.release(key)
                assert missing is not None  # noqa: S101
                self._fail(pool, missing, not_acknowledged(pool.spec.name))

    def _on_pulled(
        self,
        pool: Pool,
        worker: Worker,
        call: Call,
        item: WorkItem,
        *,
        ended: bool,
        outputs: Sequence[Output],
    ) -> None:
        children = item.children = set() if item.children is None else item.children
        if ended:
            worker.stream = None
            pool.done += 1
            pool.done_seconds += item.seconds
            self._observer.exhausted(item.key, len(children))
        for output in outputs:
            if output.key not in children:  # a second attempt repeats the outputs of the first
                children.add(output.key)
                self._pass_on(pool, output, call.payload, item.key)

    def _pass_on(self, pool: Pool, output: Output, payload: Any, parent: str | None) -> None:
        item = None
        if output.item is not None:
            item = pickle.loads(output.item)  # noqa: S301 (from our own worker)
        if pool.spec.reports_outputs and self._observer.reported(pool.spec.name, item) is False:
            return
        if output.final or pool.next is None:
            self._observer.finished(item)
            return
        pool.saw_output(output.nbytes)
        pool.next.push(
            WorkItem(
                key=output.key,
                seconds=output.seconds,
                nbytes=output.nbytes,
                payload=payload,
                index=output.index,
                parent=parent if parent is not None else output.key,
            )
        )

    # Aggregating stages

    def _retain(self, pool: Pool, worker: Worker, key: str) -> None:
        item = worker.release(key)
        if item is not None:
            self.acknowledge((key,))
            self.retained[key] = (pool, item)
            self.retained_bytes += item.nbytes

    def acknowledge(self, keys: Collection[str]) -> None:
        for key in keys:
            _, item = self.retained.pop(key, (None, None))
            self.retained_bytes -= item.nbytes if item is not None else 0

    def redo(self, keys: Collection[str]) -> None:
        for key in keys:
            if key in self.retained:
                pool, item = self.retained[key]
                self.acknowledge((key,))
                pool.push(item)

    # Failures

    def _on_exception(self, pool: Pool, worker: Worker, call: Call, info: ErrorInfo) -> None:
        if isinstance(call.request, Pull):
            worker.stream = None
        if info.policy is Policy.STOP:
            if pool.aggregates:  # its half-written shard must not be flushed
                pool.kill_worker(worker)
            raise error_from_name(info.error_class, f"stage {pool.spec.name}: {info.text}")
        if pool.aggregates:
            # The closing of the shard may have failed, which is no fault of this item. What the worker still
            # holds is unknown, so a new worker repeats all of it.
            worker.calls.appendleft(call)
            self.replace(worker, info)
            return
        if call.item is not None:
            self._fail(pool, call.item, info)
        if info.error_class == "OutOfMemoryError":  # its heap is fragmented
            self.replace(worker, None)

    def on_fault(self, worker: Worker, call: Call, error: BaseException) -> None:
        """`call` has no reply: the worker died, its argument is lost, or its result could not be packed."""
        pool = self.pool_of(worker)
        fault = self._backend.fault(pool.spec.name, error)
        if call.revoked and fault.kind in (FaultKind.RAISED, FaultKind.INPUT_LOST):
            pool.place(worker)
        elif fault.kind is FaultKind.INPUT_LOST and call.item is not None:
            worker.end_exclusive()
            if isinstance(call.request, Pull):
                worker.stream = None
            self._observer.lost(call.item.key)
            pool.place(worker)
        elif fault.kind is FaultKind.RAISED and not isinstance(call.request, Hello | Setup):
            worker.end_exclusive()
            self._on_exception(pool, worker, call, fault.info)
            pool.place(worker)
        elif fault.kind is FaultKind.UNPLACEABLE and not worker.is_backup:
            raise error_from_name(fault.info.error_class, fault.info.text)
        else:
            worker.calls.appendleft(call)
            self.replace(worker, fault.info)

    def replace(self, worker: Worker, charge: ErrorInfo | None) -> None:
        """Kills `worker` and starts another one.

        The items that it ran, had queued or held return to the front of the queue. `charge` applies only to
        the item of the oldest call.
        """
        if worker.dead:
            return
        pool = self.pool_of(worker)
        had_started = worker.started
        pool.kill_worker(worker)
        innocent = {id(item): item for item in worker.held.values()}
        for call in worker.calls:
            if call.revoked:
                continue  # its item is back in the queue, or runs elsewhere
            # A pull may be left over from a fan-out that has ended.
            if call.item is not None and (not isinstance(call.request, Pull) or call.item is worker.stream):
                innocent[id(call.item)] = call.item
        oldest = worker.calls[0] if worker.calls else None
        charged = innocent.pop(id(oldest.item), None) if oldest is not None and charge is not None else None
        for item in reversed(innocent.values()):
            item.requeued = not pool.aggregates
            pool.push(item, front=True)
        if charge is not None and charged is not None:
            behind = None if pool.aggregates else next(iter(innocent.values()), None)
            self._charge(pool, charged, charge, behind)
        if worker.is_backup:  # stragglers.py starts another one if it is still needed
            if not had_started:
                stragglers.postpone_backup(pool)
            return
        if charge is not None and oldest is not None and oldest.item is None:
            self._charge_pool(pool, charge, had_started=had_started)
        pool.start_worker(self._backend, self._on_reply)

    def _charge(self, pool: Pool, item: WorkItem, info: ErrorInfo, behind: WorkItem | None) -> None:
        """Charges `item`, the oldest call, with a death or a missed deadline.

        The call behind it may be the real cause of a death: the oldest call may have ended, and its reply was
        lost with the worker. Therefore the item `behind` runs alone next. If it kills its worker again, the
        charge against the other item is cleared.
        """
        item.attempts += 1
        item.was_late = info.error_class == DeadlineExceededError.__name__
        blamed, item.blamed = item.blamed, None
        if blamed is not None and not item.was_late:
            pool.clear(blamed)
        if item.attempts >= self._max_attempts:
            self._fail(pool, item, replace(info, attempts=item.attempts))
        else:
            pool.retried += 1
            pool.push_quarantined(item)
            if behind is not None and not item.was_late:
                behind.blamed = item

    def _charge_pool(self, pool: Pool, info: ErrorInfo, *, had_started: bool) -> None:
        """A setup or a flush died. No item is to blame, but the number of attempts is limited."""
        if had_started:
            pool.failed_flushes += 1
        else:
            pool.failed_setups += 1
        if max(pool.failed_flushes, pool.failed_setups) >= self._max_attempts:
            action = "flush" if had_started else "start"
            text = f"stage {pool.spec.name} cannot {action}, {self._max_attempts} times in a row: {info.text}"
            raise error_from_name(info.error_class, text)

    def _fail(self, pool: Pool, item: WorkItem, info: ErrorInfo) -> None:
        pool.failed += 1
        yielded = len(item.children or ())
        self._observer.failed(item.key, pool.spec.name, replace(info, yielded=yielded), item.seconds)
        self._count_in_a_row(pool, item, info)

    def _count_in_a_row(self, pool: Pool, item: WorkItem, info: ErrorInfo) -> None:
        """If many *videos* in a row fail with the same class of error, and that class does not concern the
        media, then the run itself is at fault, and ends."""
        last_class, last_parent = pool.last_failure
        pool.last_failure = (info.error_class, item.parent)
        if is_media_fault(info.error_class):
            pool.failures_in_a_row = 0
        elif last_class != info.error_class:
            pool.failures_in_a_row = 1
        elif last_parent != item.parent:
            pool.failures_in_a_row += 1
        if self._max_in_a_row is not None and pool.failures_in_a_row >= self._max_in_a_row:
            text = f"{pool.failures_in_a_row} videos in a row failed in stage {pool.spec.name}: {info.text}"
            raise error_from_name(info.error_class, text)
