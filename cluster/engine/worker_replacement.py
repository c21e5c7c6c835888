"""Replaces workers that died, hung or must not be reused, and charges the items that they ran."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from mien.cluster.engine import stragglers
from mien.cluster.engine.backends.interface import Backend
from mien.cluster.engine.errors import error_from_name, is_media_fault
from mien.cluster.engine.interface import ErrorInfo, Observer
from mien.cluster.engine.messages import Pull
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import OnReply, Worker, WorkItem
from mien.ingest.errors import DeadlineExceededError


class WorkerReplacer:
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

    def replace(self, worker: Worker, charge: ErrorInfo | None) -> None:
        """Kills `worker` and starts another one.

        The items that it ran, had queued or held return to the front of the queue. `charge` applies only to
        the item of the oldest call.
        """
        if worker.dead:
            return
        pool = self._pools[worker.spec.name]
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
            self.fail(pool, item, replace(info, attempts=item.attempts))
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

    def fail(self, pool: Pool, item: WorkItem, info: ErrorInfo) -> None:
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
