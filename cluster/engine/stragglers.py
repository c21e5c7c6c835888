"""So that nobody waits for a whole deadline behind a call that hangs.

When a call has had half of its time, those that lie behind it in its worker are *withdrawn*: their tasks go
to the front of the queue, for others to run, and what may still come of the calls counts for nothing. And
where all workers of a pool are held up so while tasks wait, one *spare* is started, which goes again when the
pool's own workers are back.

A withdrawn call stays among its worker's calls, since the worker will run it if the one before it ends after
all: it takes a place there and has its deadline, like any other. If by then nobody else has begun with its
task and there is room for what comes of it, it is taken back, and not run twice.

Not for gathering stages: what a worker has gathered cannot be had from another, and two that hold the same
item would both put it into a shard.
"""

from __future__ import annotations

import time
from itertools import islice

from mien.cluster.engine.backends.interface import Backend
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Inbox, Kind, Worker

RELIEF_SHARE = 0.5
"""Of its deadline, that a call may take before others stop waiting for it. Later leaves them too little of
that deadline; sooner would start spares for what is merely slow."""
_DO_WITHOUT_SECONDS = 600.0
"""A spare that cannot start (there may be no memory for one more) is not tried again for so long."""


def look(pool: Pool, now: float, backend: Backend, inbox: Inbox) -> None:
    """To be done a few times a second, with no reply unread."""
    if pool.gathers:
        return
    for worker in pool.workers:
        if worker.ready and not worker.stalled and worker.overdue(now, RELIEF_SHARE):
            worker.calls[0].slow = True
            if _has_others(pool):
                _withdraw(pool, worker)
            pool.place(worker)
    spare = next((worker for worker in pool.workers if worker.spare), None)
    if spare is not None:
        _keep_or_release(pool, spare)
    elif pool.queue and pool.spec.gpus == 0 and now >= pool.spare_again_at and _is_held_up(pool):
        # Not on GPUs, where the workers have been counted so that their memory fits.
        pool.spawn(backend, inbox, spare=True)


def _has_others(pool: Pool) -> bool:
    """Who may run what a stalled worker does not come to: on GPUs, no spare."""
    return pool.spec.gpus == 0 or any(other.ready and not other.stalled for other in pool.workers)


def _withdraw(pool: Pool, worker: Worker) -> None:
    """The pulls of a fan-out stay: they are all of one task, which has begun."""
    for call in reversed(list(islice(worker.calls, 1, None))):
        if call.kind is Kind.CALL and not call.revoked and call.task is not None:
            pool.settle(call)
            call.revoked = True
            call.task.requeued = True
            pool.push(call.task, front=True)


def take_back(pool: Pool, worker: Worker) -> None:
    """`worker` comes to its next call: if that was withdrawn and its task still waits, it counts again."""
    if worker.dead or not worker.calls or not worker.calls[0].revoked:
        return
    call = worker.calls[0]
    if call.task is None or call.task not in pool.queue:
        return
    promised_bytes = pool.promise()
    if promised_bytes is not None:
        pool.unqueue(call.task)
        pool.calls += 1
        call.promised_bytes = promised_bytes
        call.revoked = call.settled = False


def _is_held_up(pool: Pool) -> bool:
    """Whether no worker can take anything new before a call ends that perhaps never does. (Where all are
    merely starting, another would not be sooner.)"""
    return any(worker.stalled for worker in pool.workers) and all(
        worker.stalled or not worker.ready for worker in pool.workers
    )


def _keep_or_release(pool: Pool, spare: Worker) -> None:
    """It stays, idle or not, until each of the pool's own workers is ready for work, and goes then: a worker
    in its place would have the share that it does not."""
    needed = any(worker.stalled or not worker.ready for worker in pool.workers if not worker.spare)
    if spare.leaving == needed:
        spare.leaving = not needed
        pool.place(spare)
    if spare.leaving and (not spare.ready or not (spare.calls or spare.stream)):
        pool.dismiss(spare)


def do_without(pool: Pool) -> None:
    pool.spare_again_at = time.monotonic() + _DO_WITHOUT_SECONDS
