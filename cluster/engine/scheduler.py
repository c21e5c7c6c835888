"""The engine's loop: one thread, one inbox, every event O(1).

Of each reply a callback tells that puts it into the inbox; everything else (deaths included, as the
exceptions of the calls that died) follows from that. Downstream pools are served first.

Fan-out is pulled by one call per item and not by Ray's streaming generator: the worker then computes
nothing that nobody has room for, each yield has a deadline of its own that does not run while it waits
for room, and a fan-out dies, is retried and is accounted for like any other call.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Collection, Sequence
from concurrent.futures import wait
from queue import Empty, SimpleQueue
from typing import Any

from mien.cluster.engine import stragglers
from mien.cluster.engine.backends.interface import Backend
from mien.cluster.engine.backends.on_ray import RayBackend
from mien.cluster.engine.feasibility import check_pools
from mien.cluster.engine.flow import Flow
from mien.cluster.engine.interface import ErrorInfo, Observer, PoolSpec, Snapshot
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Call, Task, Worker
from mien.ingest.errors import InfeasibleError, Policy
from mien.pipelines.stage import Item, StageContext

_POLL_SECONDS = 0.1
_BATCH = 256
CLOSE_SECONDS = 2.0
"""That idle workers have to release what their stage holds before they are killed."""
PLACEMENT_SECONDS = 900.0
"""A pool none of whose workers got a place for so long ends the run."""


class Engine:
    """Runs items through pools of workers, on `backend`: by default on a Ray of this machine. `stop`,
    `acknowledge` and `redo` may be called from observer callbacks, other threads and signal handlers."""

    def __init__(
        self,
        pools: Sequence[PoolSpec],
        observer: Observer,
        *,
        backend: Backend | None = None,
        context: StageContext | None = None,
        max_attempts: int = 3,
        max_consecutive_failures: int | None = 50,
    ) -> None:
        names = [pool.name for pool in pools]
        if not pools or len(set(names)) != len(names):
            raise ValueError(f"stages need names of their own, got {names}")
        self._specs = tuple(pools)
        self._observer = observer
        self._context = context or StageContext()
        self._max_attempts = max_attempts
        self._max_in_a_row = max_consecutive_failures
        self._backend: Backend = backend or RayBackend()
        self._connected = False
        self._inbox: SimpleQueue[tuple[Any, ...]] = SimpleQueue()
        self._pools: list[Pool] = []
        self._flow: Flow
        self._inputs_ended = False
        self._ask_again = 0.0
        self._stopping = False
        self._error: BaseException | None = None

    # What the runner calls

    def check(self) -> None:
        """Connects, and raises InfeasibleError if the pools do not fit the cluster."""
        if not self._connected:
            self._backend.open()
            self._connected = True
        check_pools(self._specs, self._backend.nodes())

    def run(self) -> None:
        """Returns when the inputs have ended and everything is finished, or after `stop`.

        Raises:
            MienError: what made going on pointless, in one line; what was gathered has been flushed.
        """
        try:
            self.check()
            self._start()
            self._loop()
        finally:
            self._close_idle_workers()
            for pool in self._pools:
                for worker in pool.workers:
                    worker.kill()
            self.close()
        if self._error is not None:
            raise self._error

    def _close_idle_workers(self) -> None:
        """Lets each idle worker release what its stage holds, for CLOSE_SECONDS at most."""
        idle = [
            worker for pool in self._pools for worker in pool.workers if worker.ready and not worker.calls
        ]
        with contextlib.suppress(Exception):  # they are killed anyway
            wait([worker.handle.submit("close")[1] for worker in idle], timeout=CLOSE_SECONDS)

    def close(self) -> None:
        """Leaves the backend, if `check` was called and `run` was not."""
        if self._connected:
            self._connected = False
            self._backend.close()

    def stop(self) -> None:
        """No new inputs; what waits for a gathering stage goes in, it is flushed, and `run` returns."""
        self._inbox.put(("stop",))

    def acknowledge(self, keys: Collection[str]) -> None:
        """These gathered items are committed: their payloads may go."""
        self._inbox.put(("acknowledge", tuple(keys)))

    def redo(self, keys: Collection[str]) -> None:
        """These gathered items may not be committed: back to the gathering stage with them."""
        self._inbox.put(("redo", tuple(keys)))

    # The loop

    def _start(self) -> None:
        for spec in self._specs:
            before = self._pools[-1] if self._pools else None
            last = spec is self._specs[-1]
            pickled = self._backend.pack(spec.stage, self._context)
            self._pools.append(Pool(spec, pickled_stage=pickled, before=before, last=last))
        self._flow = Flow(
            self._pools,
            self._observer,
            self._on_done,
            self._backend,
            max_attempts=self._max_attempts,
            max_consecutive_failures=self._max_in_a_row,
        )
        for pool in self._pools:
            for _ in range(pool.spec.workers):
                pool.spawn(self._backend, self._on_done)

    def _on_done(self, worker: Worker, call: Call, future: Any) -> None:
        self._inbox.put(("done", worker, call, future))  # called from the backend's threads

    def _loop(self) -> None:
        started = time.monotonic()
        next_look = next_tick = started
        while True:
            try:
                drained = self._take_events() < _BATCH
                # What comes while the catalog is asked, for minutes perhaps, is read before anybody is late.
                now = time.monotonic()
                self._admit()
                self._dispatch()
                if now >= next_look and drained:
                    next_look = now + _POLL_SECONDS
                    self._look_for_late(now)
                if now >= next_tick:
                    next_tick = now + 1.0
                    self._backend.check_alive()
                    self._flush_old(now)
                    self._observer.tick(self._snapshot(now - started))
                if self._inbox.empty() and self._is_over():
                    return
            except Exception as error:
                if self._stopping:
                    raise (self._error or error) from None
                self._error = error
                self._stopping = True

    def _take_events(self) -> int:
        """Handles what is in the inbox, after waiting a moment for the first; returns how many."""
        handled = 0
        try:
            event = self._inbox.get(timeout=_POLL_SECONDS)
            while True:
                self._handle(event)
                handled += 1
                if handled == _BATCH:
                    return handled
                event = self._inbox.get_nowait()
        except Empty:
            return handled

    def _handle(self, event: tuple[Any, ...]) -> None:
        match event:
            case ("done", worker, call, future):
                call.reply = future
                self._take_reply(worker)
            case ("stop",):
                self._stopping = True
            case ("acknowledge", keys):
                self._flow.acknowledge(keys)
            case ("redo", keys):
                self._flow.redo(keys)

    def _take_reply(self, worker: Worker) -> None:
        """The oldest call's, if it is there. Callbacks come in any order, and the end of a fan-out that
        overtook its last item would close the books on that."""
        if worker.dead or not worker.calls or worker.calls[0].reply is None:
            return  # a dead one's calls are under way again
        call = worker.calls.popleft()
        if worker.calls and worker.calls[0].reply is not None:
            self._inbox.put(("done", worker, worker.calls[0], worker.calls[0].reply))
        worker.clock = time.monotonic()
        pool = self._flow.pool_of(worker)
        pool.settle(call)
        error = call.reply.exception()
        if error is None:
            self._flow.on_reply(worker, call, call.reply.result())
        else:
            self._flow.on_fault(worker, call, error)
        stragglers.take_back(pool, worker)  # now that its result has the room that it was promised

    def _admit(self) -> None:
        first, now = self._pools[0], time.monotonic()
        room = first.free_items
        if self._stopping or self._inputs_ended or now < self._ask_again:
            return
        if room < max(1, first.cap // 2):  # several at a time: it is a question to a database
            return
        items: Sequence[Item] | None = self._observer.next_inputs(room)
        if items is None:
            self._inputs_ended = True
        elif not items:
            self._ask_again = now + 2 * _POLL_SECONDS
        for item in items or ():
            first.push(
                Task(
                    key=item.key,
                    seconds=item.seconds,
                    nbytes=item.nbytes,
                    payload=item,
                    index=None,
                    parent=item.key,
                )
            )

    def _dispatch(self) -> None:
        for pool in reversed(self._pools):
            pool.dispatch(hurry=self._stopping)
            if self._stopping and pool.gathers:
                return  # what is before it is left for the next run

    def _is_over(self) -> bool:
        """Whether nothing is left to be done; flushes what is gathered once all before it is through."""
        relevant = self._pools
        if self._stopping:
            first = next((n for n, pool in enumerate(relevant) if pool.gathers), None)
            relevant = [] if first is None else relevant[first:]
        elif not self._inputs_ended:
            return False
        for pool in relevant:
            if pool.workers and not pool.quiet:
                return False
            holding = [worker for worker in pool.workers if worker.held]
            for worker in holding:
                pool.flush(worker)
            if holding:
                return False
        return True

    def _look_for_late(self, now: float) -> None:
        for pool in self._pools:
            for worker in [worker for worker in pool.workers if worker.overdue(now)]:
                allowed = worker.allowed_seconds()
                text = f"stage {pool.spec.name} took longer than its deadline of {allowed:.0f} s"
                self._flow.replace(
                    worker,
                    ErrorInfo(error_class="DeadlineExceededError", text=text, policy=Policy.PERMANENT),
                )
            if pool.workers and all(
                now - worker.clock > PLACEMENT_SECONDS and not worker.ready for worker in pool.workers
            ):
                raise InfeasibleError(
                    f"no worker of stage {pool.spec.name} got a place in {PLACEMENT_SECONDS:.0f} s; "
                    "is the cluster in use by others, or has it lost nodes?"
                )
            if not self._stopping:
                stragglers.look(pool, now, self._backend, self._on_done)

    def _flush_old(self, now: float) -> None:
        for pool in self._pools:
            if pool.gathers:
                for worker in pool.workers:
                    old = now - worker.held_since > pool.spec.flush_seconds
                    if old or worker.held_bytes > pool.spec.retain_bytes:
                        pool.flush(worker)

    def _snapshot(self, uptime_seconds: float) -> Snapshot:
        return Snapshot(
            uptime_seconds=uptime_seconds,
            pools=tuple(pool.snapshot() for pool in self._pools),
            retained=len(self._flow.retained),
            retained_bytes=self._flow.retained_bytes,
        )
