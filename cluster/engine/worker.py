"""The driver's side of one worker: its state, its unanswered calls and the items that it holds."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from mien.cluster.engine.backends.interface import Backend, Handle
from mien.cluster.engine.interface import PoolSpec
from mien.cluster.engine.messages import Close, Flush, Hello, Request, Setup, encode

CLOSE_SECONDS = 2.0
"""Time for a worker that ends normally to close its stage, before it is killed."""


@dataclass(slots=True, eq=False)
class WorkItem:
    """An item on its way through the stages: its metadata and a reference to its payload."""

    key: str
    seconds: float
    nbytes: int
    payload: Any
    """Reference to the item, or to a list that contains it at `index`. An input of the run is the item."""
    index: int | None
    parent: str
    """Key of the input of the last fan-out above the item: its video."""
    attempts: int = 0
    """Deaths and missed deadlines charged to this item."""
    was_late: bool = False
    """The last charge was a missed deadline."""
    requeued: bool = False
    """The item already lost time to the death of another: it never waits behind another call again."""
    blamed: WorkItem | None = None
    """The item that was charged with a worker's death while this one waited behind it. This one may be the
    cause."""
    passed_over: int = 0
    """How often a later item was chosen first."""
    run_alone_by: float = math.inf
    """Time at which the item leaves quarantine at the latest."""
    children: set[str] | None = None
    """Keys that its fan-out has yielded. A second attempt yields them again, and they are dropped."""


@dataclass(slots=True, eq=False)
class Call:
    """One request to a worker, until its reply is handled."""

    request: Request
    item: WorkItem | None = None
    payload: Any = None
    """Reference to the payload of the result."""
    future: Future[bytes] = field(default_factory=Future)
    """Of the reply."""
    reserved_bytes: int = -1
    """Room reserved in the next queue; -1 for none."""
    closed: bool = False
    """The call no longer counts in its pool, and its reserved room is released."""
    slow: bool = False
    """The call has used a large share of its deadline: nothing waits behind it any more."""
    revoked: bool = False
    """Its item was returned to the queue before the call began. The worker may still run it, but its result
    is ignored."""


class WorkerState(Enum):
    """The life cycle of a worker. Whether it is a backup worker and which fan-out it runs are separate."""

    STARTING = "starting"
    """Its setup has not been answered."""
    READY = "ready"
    """It takes items."""
    EXCLUSIVE = "exclusive"
    """It runs one item, and nothing is put behind that."""
    LEAVING = "leaving"
    """A backup worker that is no longer needed: it finishes its calls and takes no new items."""
    CLOSING = "closing"
    """It has no calls and closes its stage."""
    DEAD = "dead"


TRANSITIONS: dict[WorkerState, frozenset[WorkerState]] = {
    WorkerState.STARTING: frozenset({WorkerState.READY, WorkerState.DEAD}),
    WorkerState.READY: frozenset(
        {WorkerState.EXCLUSIVE, WorkerState.LEAVING, WorkerState.CLOSING, WorkerState.DEAD}
    ),
    WorkerState.EXCLUSIVE: frozenset({WorkerState.READY, WorkerState.DEAD}),
    WorkerState.LEAVING: frozenset({WorkerState.READY, WorkerState.CLOSING, WorkerState.DEAD}),
    WorkerState.CLOSING: frozenset({WorkerState.DEAD}),
    WorkerState.DEAD: frozenset(),
}
_STARTED = {WorkerState.READY, WorkerState.EXCLUSIVE, WorkerState.LEAVING}

OnReply = Callable[["Worker"], None]


@dataclass(slots=True, eq=False)
class Worker:
    """One worker. `calls` are its unanswered calls, oldest first."""

    spec: PoolSpec
    handle: Handle
    on_reply: OnReply
    clock: Callable[[], float]
    is_backup: bool = False
    """An extra worker that runs items while no other worker of the pool can take any."""
    state: WorkerState = WorkerState.STARTING
    calls: deque[Call] = field(default_factory=deque)
    oldest_call_since: float = math.inf
    """When the oldest call began as far as the driver knows: when the call before it ended."""
    stream: WorkItem | None = None
    """The input of the fan-out that it runs."""
    stream_number: int = 0
    held: dict[str, WorkItem] = field(default_factory=dict)
    """Items that an aggregating stage took and has not acknowledged."""
    held_bytes: int = 0
    held_since: float = math.inf
    bucket: int = -1
    """Maintained by `Pool.place`."""
    rss_bytes: int = 0

    # State

    def transition(self, state: WorkerState) -> None:
        if state not in TRANSITIONS[self.state]:
            raise RuntimeError(
                f"a worker of stage {self.spec.name} cannot go from {self.state.value} to {state.value}"
            )
        self.state = state

    @property
    def started(self) -> bool:
        """Its setup has succeeded, and it has not ended."""
        return self.state in _STARTED

    @property
    def dead(self) -> bool:
        return self.state is WorkerState.DEAD

    def end_exclusive(self) -> None:
        """The item that ran alone has its outcome."""
        if self.state is WorkerState.EXCLUSIVE:
            self.transition(WorkerState.READY)

    @property
    def can_close(self) -> bool:
        return self.state in (WorkerState.READY, WorkerState.LEAVING) and not self.calls

    def close(self) -> Future[bytes]:
        """Asks the worker to close its stage. The caller kills it after that, or after CLOSE_SECONDS."""
        self.transition(WorkerState.CLOSING)
        call = Call(Close())
        self.submit(call)
        return call.future

    def kill(self) -> None:
        if not self.dead:
            self.transition(WorkerState.DEAD)
            self.handle.kill()

    # Calls

    def submit(self, call: Call, payload: Any = None) -> None:
        if not self.calls:
            self.oldest_call_since = self.clock()
        self.calls.append(call)
        call.payload, call.future = self.handle.submit(encode(call.request), payload)
        call.future.add_done_callback(lambda _: self.on_reply(self))

    @property
    def flushing(self) -> bool:
        return any(isinstance(call.request, Flush) for call in self.calls)

    @property
    def has_counting_calls(self) -> bool:
        """Whether the result of any of its calls will be used."""
        return any(not call.revoked for call in self.calls)

    @property
    def stalled(self) -> bool:
        return bool(self.calls) and self.calls[0].slow

    def overdue(self, now: float, share: float = 1.0) -> bool:
        """Whether the oldest call has used `share` of its deadline. A worker that waits for placement has no
        deadline."""
        if not self.calls or isinstance(self.calls[0].request, Hello):
            return False
        return now - self.oldest_call_since > share * self.allowed_seconds()

    def allowed_seconds(self) -> float:
        """Of the oldest call."""
        call = self.calls[0]
        if isinstance(call.request, Setup):
            return self.spec.setup_deadline_seconds
        return self.spec.deadline.seconds(call.item.seconds if call.item is not None else 0.0)

    # Items of an aggregating stage

    def hold(self, item: WorkItem) -> None:
        self.release(item.key)
        if not self.held:
            self.held_since = self.clock()
        self.held[item.key] = item
        self.held_bytes += item.nbytes

    def release(self, key: str) -> WorkItem | None:
        item = self.held.pop(key, None)
        if item is not None:
            self.held_bytes -= item.nbytes
        if not self.held:
            self.held_since = math.inf
        return item


def start_worker(
    backend: Backend,
    spec: PoolSpec,
    pickled_stage: bytes,
    *,
    last: bool,
    on_reply: OnReply,
    clock: Callable[[], float],
    is_backup: bool = False,
) -> Worker:
    """Starts a worker and submits its first two calls. `Hello` is answered once the worker has a place.

    A backup worker requests no CPU. The pool's own workers may use all CPUs, and a backup worker that
    requested a share would wait for one of them to end, which is what it must not wait for. It does not
    overload the node, because it uses the share of a worker that makes no progress.
    """
    threads, cpus = max(1, math.ceil(spec.cpus)), 0.0 if is_backup else spec.cpus
    handle = backend.start(spec, pickled_stage, cpus=cpus, threads=threads, last=last)
    worker = Worker(spec=spec, handle=handle, on_reply=on_reply, clock=clock, is_backup=is_backup)
    worker.submit(Call(Hello()))
    worker.submit(Call(Setup(None if spec.gpus else spec.memory_mb)))
    return worker
