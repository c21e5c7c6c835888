"""Prevents items from waiting for a whole deadline behind a call that hangs, and ends backup workers.

When a call has used half of its deadline, the calls that wait behind it in its worker are *revoked*: their
items return to the front of the queue for other workers, and the results of these calls are ignored. If all
workers of a pool hang while items wait, one *backup worker* is started. It leaves when the pool's own workers
can take items again.

A revoked call stays among its worker's calls, because the worker will run it if the call before it ends after
all. It takes a place there and has a deadline like any other call. If no other worker has begun its item by
then, and there is room for the result, the call is reclaimed, so that the item does not run twice.

Aggregating stages are excluded. What a worker has aggregated cannot be taken from another one, and two
workers that hold the same item would both put it into a shard.
"""

from __future__ import annotations

from itertools import islice

from mien.cluster.engine.backends.interface import Backend
from mien.cluster.engine.messages import Run
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import CLOSE_SECONDS, OnReply, Worker, WorkerState

STRAGGLER_SHARE = 0.5
"""The share of its deadline after which others stop waiting for a call. A larger share leaves them too little
of that deadline; a smaller one would start backup workers for calls that are merely slow."""
_BACKUP_PAUSE_SECONDS = 600.0
"""Pause after a backup worker could not start. There may be no memory for another worker."""


def check(pool: Pool, now: float, backend: Backend, on_reply: OnReply) -> None:
    """Must be called a few times per second, after all replies have been read."""
    for worker in [worker for worker in pool.closing if now - worker.oldest_call_since > CLOSE_SECONDS]:
        pool.end_closing(worker)
    if pool.aggregates:
        return
    for worker in pool.workers:
        if worker.started and not worker.stalled and worker.overdue(now, STRAGGLER_SHARE):
            worker.calls[0].slow = True
            if _has_alternative(pool):
                _revoke_calls_behind(pool, worker)
            pool.place(worker)
    backup = next((worker for worker in pool.workers if worker.is_backup), None)
    if backup is not None:
        _keep_or_release(pool, backup)
    elif pool.queue and pool.spec.gpus == 0 and now >= pool.next_backup_at and _is_blocked(pool):
        # Not on GPUs: their workers are counted so that they fit into the memory.
        pool.start_worker(backend, on_reply, is_backup=True)


def _has_alternative(pool: Pool) -> bool:
    """Whether another worker can run the calls behind a stalled one. GPU pools get no backup worker."""
    return pool.spec.gpus == 0 or any(other.started and not other.stalled for other in pool.workers)


def _revoke_calls_behind(pool: Pool, worker: Worker) -> None:
    """Pulls of a fan-out stay: all of them belong to one item, which has begun."""
    for call in reversed(list(islice(worker.calls, 1, None))):
        if isinstance(call.request, Run) and not call.revoked and call.item is not None:
            pool.close_call(call)
            call.revoked = True
            call.item.requeued = True
            pool.push(call.item, front=True)


def reclaim_revoked_call(pool: Pool, worker: Worker) -> None:
    """`worker` begins its next call. If that was revoked and its item still waits, it counts again."""
    if not worker.started or not worker.calls or not worker.calls[0].revoked:
        return
    call = worker.calls[0]
    if call.item is None or call.item not in pool.queue:
        return
    reserved_bytes = pool.reserve_output()
    if reserved_bytes is not None:
        pool.unqueue(call.item)
        pool.reopen_call(call, reserved_bytes)


def _is_blocked(pool: Pool) -> bool:
    """Whether no worker can take an item before a call ends that may never end. If all workers are merely
    starting, a backup worker would not be ready sooner."""
    return any(worker.stalled for worker in pool.workers) and all(
        worker.stalled or not worker.started for worker in pool.workers
    )


def _keep_or_release(pool: Pool, backup: Worker) -> None:
    """Keeps the backup worker, idle or not, until each of the pool's own workers can take items. Then it
    leaves: a regular worker in its place would have the CPU share that it lacks."""
    needed = any(worker.stalled or not worker.started for worker in pool.workers if not worker.is_backup)
    if needed:
        if backup.state is WorkerState.LEAVING:
            backup.transition(WorkerState.READY)
            pool.place(backup)
    elif backup.state is WorkerState.STARTING:
        pool.kill_worker(backup)
    else:
        if backup.state is WorkerState.READY:
            backup.transition(WorkerState.LEAVING)
            pool.place(backup)
        if not (backup.calls or backup.stream):
            pool.close_worker(backup)


def postpone_backup(pool: Pool) -> None:
    """A backup worker could not start."""
    pool.next_backup_at = pool.clock() + _BACKUP_PAUSE_SECONDS
