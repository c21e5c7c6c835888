"""The engine's loop: one thread, one inbox, and every event in O(1).

A callback puts each reply into the inbox. Everything else follows from that, including deaths: the calls of a
worker that died end with an exception. Downstream pools are served first.

A fan-out is pulled with one call per output instead of Ray's streaming generator. So the worker computes
nothing that the next queue has no room for, each output has its own deadline, which does not run while the
fan-out waits for room, and a fan-out is retried and accounted for like any other call.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import wait
from queue import Empty, SimpleQueue

from mien.cluster.engine import stragglers
from mien.cluster.engine.backends.interface import Backend
from mien.cluster.engine.backends.ray_backend import RayBackend
from mien.cluster.engine.feasibility import check_pools
from mien.cluster.engine.interface import ErrorInfo, Observer, PoolSpec, Snapshot
from mien.cluster.engine.messages import decode_reply
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.results import ResultHandler
from mien.cluster.engine.worker import CLOSE_SECONDS, Worker, WorkerState, WorkItem
from mien.cluster.engine.worker_replacement import WorkerReplacer
from mien.ingest.errors import InfeasibleError, Policy
from mien.pipelines.stage import Item, StageContext

POLL_SECONDS = 0.1
_BATCH = 256
PLACEMENT_SECONDS = 900.0
"""The run ends if no worker of a pool gets a place for this long."""

_Event = Callable[[], None]


class Engine:
    """Runs items through pools of workers on `backend`; the default is a local Ray. `stop`, `acknowledge` and
    `redo` may be called from observer callbacks, other threads and signal handlers."""

    def __init__(
        self,
        pools: Sequence[PoolSpec],
        observer: Observer,
        *,
        backend: Backend | None = None,
        context: StageContext | None = None,
        max_attempts: int = 3,
        max_consecutive_failures: int | None = 50,
        clock: Callable[[], float] = time.monotonic,
        poll_seconds: float = POLL_SECONDS,
    ) -> None:
        """`clock` gives the time in seconds. `poll_seconds` is the longest wait for an event."""
        names = [pool.name for pool in pools]
        if not pools or len(set(names)) != len(names):
            raise ValueError(f"stages need distinct names, got {names}")
        self._specs = tuple(pools)
        self._observer = observer
        self._context = context or StageContext()
        self._max_attempts = max_attempts
        self._max_in_a_row = max_consecutive_failures
        self._backend: Backend = backend or RayBackend()
        self._clock = clock
        self._poll_seconds = poll_seconds
        self._connected = False
        self._inbox: SimpleQueue[_Event] = SimpleQueue()
        self.pools: list[Pool] = []
        """Read-only for callers; filled by `start`."""
        self._results: ResultHandler
        self._replacer: WorkerReplacer
        self._started_at = self._next_check_at = self._next_tick_at = 0.0
        self._inputs_ended = False
        self._next_inputs_at = 0.0
        self._stopping = False
        self._error: BaseException | None = None

    # For the runner

    def check(self) -> None:
        """Connects, and raises InfeasibleError if the pools do not fit into the cluster."""
        if not self._connected:
            self._backend.open()
            self._connected = True
        check_pools(self._specs, self._backend.nodes())

    def run(self) -> None:
        """Returns when the inputs have ended and all items are finished, or after `stop`.

        Raises:
            MienError: the reason why the run cannot continue, in one line. Aggregated items were flushed.
        """
        try:
            self.check()
            self.start()
            while not self._advance():
                pass
        finally:
            self.end_workers()
            self.close()
        if self._error is not None:
            raise self._error

    def close(self) -> None:
        """Disconnects. Needed only if `check` was called and `run` was not."""
        if self._connected:
            self._connected = False
            self._backend.close()

    def stop(self) -> None:
        """Takes no new inputs. Items that wait for an aggregating stage still enter it, it is flushed, and
        `run` returns."""
        self._inbox.put(self._on_stop)

    def acknowledge(self, keys: Collection[str]) -> None:
        """These aggregated items are committed: their payloads may be released."""
        items = tuple(keys)
        self._inbox.put(lambda: self._results.acknowledge(items))

    def redo(self, keys: Collection[str]) -> None:
        """These aggregated items may not be committed: they return to the aggregating stage."""
        items = tuple(keys)
        self._inbox.put(lambda: self._results.redo(items))

    # The parts of `run`: `start`, then `step` until nothing is left to do, then `end_workers`

    def start(self) -> None:
        for spec in self._specs:
            before = self.pools[-1] if self.pools else None
            last = spec is self._specs[-1]
            pickled = self._backend.pack(spec.stage, self._context)
            self.pools.append(Pool(spec, pickled_stage=pickled, before=before, last=last, clock=self._clock))
        self._replacer = WorkerReplacer(
            self.pools,
            self._observer,
            self._on_reply,
            self._backend,
            max_attempts=self._max_attempts,
            max_consecutive_failures=self._max_in_a_row,
        )
        self._results = ResultHandler(self.pools, self._observer, self._backend, self._replacer)
        self._started_at = self._next_check_at = self._next_tick_at = self._clock()
        for pool in self.pools:
            for _ in range(pool.spec.workers):
                pool.start_worker(self._backend, self._on_reply)

    def step(self) -> None:
        """Handles the events of the inbox, takes inputs, submits calls, and checks deadlines."""
        drained = self._take_events() < _BATCH
        # The observer may block for minutes (its catalog restarts). The time is read before that, so that
        # the replies of those minutes are handled before any call counts as late.
        now = self._clock()
        self._admit()
        self._dispatch()
        if now >= self._next_check_at and drained:
            self._next_check_at = now + POLL_SECONDS
            self._check_deadlines(now)
        if now >= self._next_tick_at:
            self._next_tick_at = now + 1.0
            self._backend.check_alive()
            self._flush_old(now)
            self._observer.tick(self._snapshot(now - self._started_at))

    def end_workers(self) -> None:
        """Lets idle workers close their stages, for CLOSE_SECONDS at most, and kills all workers."""
        workers = [(pool, worker) for pool in self.pools for worker in pool.workers]
        closable = [worker for pool, worker in workers if worker.can_close and pool.stage_has_close]
        with contextlib.suppress(Exception):  # they are killed anyway
            wait([worker.close() for worker in closable], timeout=CLOSE_SECONDS)
        for pool in self.pools:
            for worker in pool.workers | pool.closing:
                worker.kill()

    def _advance(self) -> bool:
        """One step; returns whether the run is over. The first error stops the run."""
        try:
            self.step()
            return self._inbox.empty() and self._is_over()
        except Exception as error:
            if self._stopping:
                raise (self._error or error) from None
            self._error = error
            self._stopping = True
            return False

    def _on_reply(self, worker: Worker) -> None:
        self._inbox.put(lambda: self._take_reply(worker))  # called from the backend's threads

    def _on_stop(self) -> None:
        self._stopping = True

    def _take_events(self) -> int:
        """Handles the events of the inbox, after waiting a moment for the first. Returns their number."""
        handled = 0
        try:
            event = self._inbox.get(timeout=self._poll_seconds)
            while True:
                event()
                handled += 1
                if handled == _BATCH:
                    return handled
                event = self._inbox.get_nowait()
        except Empty:
            return handled

    def _take_reply(self, worker: Worker) -> None:
        """Handles the reply to the oldest call, if it is there. Callbacks come in any order, and the end of a
        fan-out must not be handled before its last output."""
        is_answered = bool(worker.calls) and worker.calls[0].future.done()
        if worker.state is WorkerState.CLOSING and is_answered:
            self._results.pool_of(worker).end_closing(worker)
            return
        if worker.dead or not is_answered or worker.state is WorkerState.CLOSING:
            return  # the items of a dead worker are already back in the queue
        call = worker.calls.popleft()
        if worker.calls and worker.calls[0].future.done():
            self._on_reply(worker)
        worker.oldest_call_since = self._clock()
        pool = self._results.pool_of(worker)
        pool.close_call(call)
        error = call.future.exception()
        if error is None:
            self._results.on_reply(worker, call, decode_reply(call.future.result()))
        else:
            self._results.on_fault(worker, call, error)
        stragglers.reclaim_revoked_call(pool, worker)  # now that the result above has taken its room

    def _admit(self) -> None:
        first, now = self.pools[0], self._clock()
        room = first.free_items
        if self._stopping or self._inputs_ended or now < self._next_inputs_at:
            return
        if room < max(1, first.cap // 2):  # several at a time, because it is a database query
            return
        items: Sequence[Item] | None = self._observer.next_inputs(room)
        if items is None:
            self._inputs_ended = True
        elif not items:
            self._next_inputs_at = now + 2 * POLL_SECONDS
        for item in items or ():
            first.push(
                WorkItem(
                    key=item.key,
                    seconds=item.seconds,
                    nbytes=item.nbytes,
                    payload=item,
                    index=None,
                    parent=item.key,
                )
            )

    def _dispatch(self) -> None:
        for pool in reversed(self.pools):
            pool.dispatch(no_more_input=self._stopping)
            if self._stopping and pool.aggregates:
                return  # the next run does what is before it

    def _is_over(self) -> bool:
        """Whether nothing is left to do. Flushes aggregating stages once all pools before them are done."""
        relevant = self.pools
        if self._stopping:
            first = next((n for n, pool in enumerate(relevant) if pool.aggregates), None)
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

    def _check_deadlines(self, now: float) -> None:
        for pool in self.pools:
            for worker in [worker for worker in pool.workers if worker.overdue(now)]:
                allowed = worker.allowed_seconds()
                text = f"stage {pool.spec.name} took longer than its deadline of {allowed:.0f} s"
                self._replacer.replace(
                    worker,
                    ErrorInfo(error_class="DeadlineExceededError", text=text, policy=Policy.PERMANENT),
                )
            if pool.workers and all(
                now - worker.oldest_call_since > PLACEMENT_SECONDS and not worker.started
                for worker in pool.workers
            ):
                raise InfeasibleError(
                    f"no worker of stage {pool.spec.name} got a place in {PLACEMENT_SECONDS:.0f} s; check "
                    "whether others use the cluster, or whether it has lost nodes"
                )
            if not self._stopping:
                stragglers.check(pool, now, self._backend, self._on_reply)

    def _flush_old(self, now: float) -> None:
        for pool in self.pools:
            if pool.aggregates:
                for worker in pool.workers:
                    old = now - worker.held_since > pool.spec.flush_seconds
                    if old or worker.held_bytes > pool.spec.retain_bytes:
                        pool.flush(worker)

    def _snapshot(self, uptime_seconds: float) -> Snapshot:
        return Snapshot(
            uptime_seconds=uptime_seconds,
            pools=tuple(pool.snapshot() for pool in self.pools),
            retained=len(self._results.retained),
            retained_bytes=self._results.retained_bytes,
        )
