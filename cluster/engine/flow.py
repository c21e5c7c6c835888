"""What becomes of items: replies, exceptions, deaths, gathering. It knows pools and tasks, and no clock."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from mien.cluster.engine import stragglers
from mien.cluster.engine.backends.interface import Backend, What
from mien.cluster.engine.errors import error_named, is_media_fault, never_answered
from mien.cluster.engine.interface import ErrorInfo, Observer
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Call, Inbox, Kind, Task, Worker
from mien.ingest.errors import DeadlineExceededError, Policy


class Flow:
    """The handlers of the engine's events. An error that must end the run is raised."""

    def __init__(
        self,
        pools: Sequence[Pool],
        observer: Observer,
        inbox: Inbox,
        backend: Backend,
        *,
        max_attempts: int,
        max_consecutive_failures: int | None,
    ) -> None:
        self._pools = {pool.spec.name: pool for pool in pools}
        self._observer = observer
        self._inbox, self._backend = inbox, backend
        self._max_attempts = max_attempts
        self._max_in_a_row = max_consecutive_failures
        self.retained: dict[str, tuple[Pool, Task]] = {}
        """Gathered items that came out, until the observer has acknowledged them."""
        self.retained_bytes = 0

    def pool_of(self, worker: Worker) -> Pool:
        return self._pools[worker.spec.name]

    # Replies

    def on_reply(self, worker: Worker, call: Call, reply: list[Any]) -> None:
        pool = self.pool_of(worker)
        kind, rss_bytes, busy_seconds, outputs, error = reply
        worker.rss_bytes = rss_bytes or worker.rss_bytes
        pool.busy_seconds += busy_seconds
        if call.kind is Kind.SETUP:
            self._on_setup(pool, worker, error)
            return
        if call.kind is Kind.HELLO:
            return
        if call.revoked:
            if error is not None and error[0] == "OutOfMemoryError":
                self.replace(worker, None)
            pool.place(worker)
            return
        if kind != "void" and (call.kind is not Kind.PULL or kind != "ok"):
            worker.alone = False
        if error is not None:
            circuit, retry_after_seconds, requests, size = error[4]
            self._on_exception(pool, worker, call, ErrorInfo(
                error_class=error[0], text=error[1], policy=Policy(error[2]), traceback_tail=error[3],
                circuit=circuit, retry_after_seconds=retry_after_seconds,
                usage_requests=requests, usage_bytes=size,
            ))  # fmt: skip
        elif kind != "void":
            self._on_success(pool, worker, call, kind, outputs)
        pool.place(worker)

    def _on_setup(self, pool: Pool, worker: Worker, error: list[str] | None) -> None:
        if error is not None and worker.spare:
            self.replace(worker, None)
            return
        if error is not None:
            raise error_named(error[0], f"stage {pool.spec.name} cannot start: {error[1]}")
        worker.ready = True
        pool.setups_failed = 0
        pool.place(worker)

    def _on_success(
        self, pool: Pool, worker: Worker, call: Call, kind: str, outputs: list[list[Any]]
    ) -> None:
        pool.failures_in_a_row = 0
        task = call.task
        if call.kind is Kind.PULL and task is not None:
            self._on_pulled(pool, worker, call, task, ended=kind == "end", outputs=outputs)
            return
        if task is not None:
            pool.done += 1
            pool.done_seconds += task.seconds
            if pool.gathers:
                worker.hold(task)
            elif len(outputs) != 1:
                self._observer.exhausted(task.key, len(outputs))
        for output in outputs:
            for key in output[5]:
                self._came_out(pool, worker, key)
            self._pass_on(pool, output, call.payload, None if task is None else task.parent)
        if call.kind is Kind.FLUSH:
            pool.flushes_failed = 0
            for key in list(worker.held):  # nothing may vanish
                forgotten = worker.release(key)
                assert forgotten is not None  # noqa: S101
                self._fail(pool, forgotten, never_answered(pool.spec.name))

    def _on_pulled(
        self, pool: Pool, worker: Worker, call: Call, task: Task, *, ended: bool, outputs: list[list[Any]]
    ) -> None:
        children = task.children = set() if task.children is None else task.children
        if ended:
            worker.stream = None
            pool.done += 1
            pool.done_seconds += task.seconds
            self._observer.exhausted(task.key, len(children))
        for output in outputs:
            if output[0] not in children:  # a second attempt repeats what the first had yielded
                children.add(output[0])
                self._pass_on(pool, output, call.payload, task.key)

    def _pass_on(self, pool: Pool, output: list[Any], payload: Any, parent: str | None) -> None:
        key, seconds, nbytes, item, final, _, index = output
        if pool.spec.report and self._observer.reported(pool.spec.name, item) is False:
            return
        if final or pool.next is None:
            self._observer.finished(item)
            return
        pool.saw_output(nbytes)
        pool.next.push(
            Task(
                key=key,
                seconds=seconds,
                nbytes=nbytes,
                payload=payload,
                index=index,
                parent=parent if parent is not None else key,
            )
        )

    # Gathering

    def _came_out(self, pool: Pool, worker: Worker, key: str) -> None:
        task = worker.release(key)
        if task is not None:
            self.acknowledge((key,))
            self.retained[key] = (pool, task)
            self.retained_bytes += task.nbytes

    def acknowledge(self, keys: Collection[str]) -> None:
        for key in keys:
            _, task = self.retained.pop(key, (None, None))
            self.retained_bytes -= task.nbytes if task is not None else 0

    def redo(self, keys: Collection[str]) -> None:
        for key in keys:
            if key in self.retained:
                pool, task = self.retained[key]
                self.acknowledge((key,))
                pool.push(task)

    # Failures

    def _on_exception(self, pool: Pool, worker: Worker, call: Call, info: ErrorInfo) -> None:
        if call.kind is Kind.PULL:
            worker.stream = None
        if info.policy is Policy.STOP:
            if pool.gathers:  # its half-written shard must not be flushed
                pool.dismiss(worker)
            raise error_named(info.error_class, f"stage {pool.spec.name}: {info.text}")
        task = call.task
        if pool.gathers:
            # It may have been the closing of the shard that failed, for no fault of this item; and what
            # the worker holds now is anyone's guess. A new worker does it all again.
            worker.calls.appendleft(call)
            self.replace(worker, info)
            return
        if task is not None:
            self._fail(pool, task, info)
        if info.error_class == "OutOfMemoryError":  # its heap is in shreds
            self.replace(worker, None)

    def on_fault(self, worker: Worker, call: Call, error: BaseException) -> None:
        """`call` has no reply: the actor died, its argument is gone, or its result could not be packed."""
        pool = self.pool_of(worker)
        fault = self._backend.fault(pool.spec.name, error)
        if call.revoked and fault.what in (What.RAISED, What.INPUT_LOST):
            pool.place(worker)
        elif fault.what is What.INPUT_LOST and call.task is not None:
            worker.alone = False
            if call.kind is Kind.PULL:
                worker.stream = None
            self._observer.lost(call.task.key)
            pool.place(worker)
        elif fault.what is What.RAISED and call.kind not in (Kind.HELLO, Kind.SETUP):
            worker.alone = False
            self._on_exception(pool, worker, call, fault.info)
            pool.place(worker)
        elif fault.what is What.UNPLACEABLE and not worker.spare:
            raise error_named(fault.info.error_class, fault.info.text)
        else:
            worker.calls.appendleft(call)
            self.replace(worker, fault.info)

    def replace(self, worker: Worker, charge: ErrorInfo | None) -> None:
        """Kills `worker` and starts another. What it ran, had queued or held goes back to the front; of
        that, `charge` is put on the oldest call alone."""
        if worker.dead:
            return
        pool = self.pool_of(worker)
        pool.dismiss(worker)
        innocent = {id(task): task for task in worker.held.values()}
        for call in worker.calls:
            if call.revoked:
                continue  # under way elsewhere
            # A pull may be left over from a fan-out that has ended.
            if call.task is not None and (call.kind is not Kind.PULL or call.task is worker.stream):
                innocent[id(call.task)] = call.task
        oldest = worker.calls[0] if worker.calls else None
        charged = innocent.pop(id(oldest.task), None) if oldest is not None and charge is not None else None
        for task in reversed(innocent.values()):
            task.requeued = not pool.gathers
            pool.push(task, front=True)
        if charge is not None and charged is not None:
            behind = None if pool.gathers else next(iter(innocent.values()), None)
            self._charge(pool, charged, charge, behind)
        if worker.spare:  # an extra one, which relief sends for again where it is still needed
            if not worker.ready:
                stragglers.do_without(pool)
            return
        if charge is not None and oldest is not None and oldest.task is None:
            self._charge_pool(pool, worker, charge)
        pool.spawn(self._backend, self._inbox)

    def _charge(self, pool: Pool, task: Task, info: ErrorInfo, behind: Task | None) -> None:
        """A death is charged to the oldest call, though the one behind it may be to blame, where the oldest
        had ended and its reply went down with the worker. So that one runs alone next: if it kills again, the
        other is acquitted."""
        task.attempts += 1
        task.was_late = info.error_class == DeadlineExceededError.__name__
        blamed, task.blamed = task.blamed, None
        if blamed is not None and not task.was_late:
            pool.clear(blamed)
        if task.attempts >= self._max_attempts:
            self._fail(pool, task, replace(info, attempts=task.attempts))
        else:
            pool.retried += 1
            pool.push_suspect(task)
            if behind is not None and not task.was_late:
                behind.blamed = task

    def _charge_pool(self, pool: Pool, worker: Worker, info: ErrorInfo) -> None:
        """A setup or a flush died: no item is to blame, but it must not go on for ever."""
        if worker.ready:
            pool.flushes_failed += 1
        else:
            pool.setups_failed += 1
        if max(pool.flushes_failed, pool.setups_failed) >= self._max_attempts:
            doing = "flush" if worker.ready else "start"
            text = f"stage {pool.spec.name} cannot {doing}, {self._max_attempts} times in a row: {info.text}"
            raise error_named(info.error_class, text)

    def _fail(self, pool: Pool, task: Task, info: ErrorInfo) -> None:
        pool.failed += 1
        yielded = len(task.children or ())
        self._observer.failed(task.key, pool.spec.name, replace(info, yielded=yielded), task.seconds)
        self._count_in_a_row(pool, task, info)

    def _count_in_a_row(self, pool: Pool, task: Task, info: ErrorInfo) -> None:
        """Many *videos* in a row with one same class, which is not of the media, is the run's own fault."""
        before_class, before_parent = pool.last_failure
        pool.last_failure = (info.error_class, task.parent)
        if is_media_fault(info.error_class):
            pool.failures_in_a_row = 0
        elif before_class != info.error_class:
            pool.failures_in_a_row = 1
        elif before_parent != task.parent:
            pool.failures_in_a_row += 1
        if self._max_in_a_row is not None and pool.failures_in_a_row >= self._max_in_a_row:
            text = f"{pool.failures_in_a_row} videos in a row failed in stage {pool.spec.name}: {info.text}"
            raise error_named(info.error_class, text)
