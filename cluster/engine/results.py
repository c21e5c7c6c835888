"""Handles the results of calls: outputs, errors, and the acknowledgement of aggregated items."""

from __future__ import annotations

import pickle
from collections.abc import Collection, Sequence
from typing import Any

from mien.cluster.engine.backends.interface import Backend, FaultKind
from mien.cluster.engine.errors import error_from_name, not_acknowledged
from mien.cluster.engine.interface import ErrorInfo, Observer
from mien.cluster.engine.messages import Flush, Hello, Output, Pull, Reply, ReplyStatus, Setup
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Call, Worker, WorkerState, WorkItem
from mien.cluster.engine.worker_replacement import WorkerReplacer
from mien.ingest.errors import Policy


class ResultHandler:
    """An exception that one of these methods raises ends the run."""

    def __init__(
        self,
        pools: Sequence[Pool],
        observer: Observer,
        backend: Backend,
        replacer: WorkerReplacer,
    ) -> None:
        self._pools = {pool.spec.name: pool for pool in pools}
        self._observer, self._backend, self._replacer = observer, backend, replacer
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
                self._replacer.replace(worker, None)
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
            self._replacer.replace(worker, None)
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
                self._replacer.fail(pool, missing, not_acknowledged(pool.spec.name))

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
            self._replacer.replace(worker, info)
            return
        if call.item is not None:
            self._replacer.fail(pool, call.item, info)
        if info.error_class == "OutOfMemoryError":  # its heap is fragmented
            self._replacer.replace(worker, None)

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
            self._replacer.replace(worker, fault.info)
