"""The driver's side of one actor: what it was asked, in order, and since when it has worked on the oldest."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum, auto
from typing import Any

from mien.cluster.engine.backends.interface import Backend, Handle
from mien.cluster.engine.interface import PoolSpec


@dataclass(slots=True, eq=False)
class Task:
    """An item on its way: its meta, and a reference to its payload."""

    key: str
    seconds: float
    nbytes: int
    payload: Any
    """ObjectRef of the item, or of a list with it at `index`; an input of the run travels by value."""
    index: int | None
    parent: str
    """Key of the input of the last fan-out above it: its video."""
    attempts: int = 0
    """Deaths and deadlines charged to it."""
    was_late: bool = False
    """The last of them was a deadline."""
    requeued: bool = False
    """It lost time to another's death already: it never waits behind another's call again."""
    blamed: Task | None = None
    """Charged with the death of a worker in which this one lay behind it: perhaps in its stead."""
    passed_over: int = 0
    run_alone_by: float = math.inf
    children: set[str] | None = None
    """Keys that its fan-out has yielded: a second attempt's repetitions are dropped."""


class Kind(Enum):
    HELLO = auto()
    SETUP = auto()
    CALL = auto()
    PULL = auto()
    FLUSH = auto()


@dataclass(slots=True, eq=False)
class Call:
    kind: Kind
    task: Task | None = None
    payload: Any = None
    """Reference to the payload that it will return."""
    promised_bytes: int = -1
    """Room taken in the next queue; -1 for none."""
    settled: bool = False
    reply: Any = None
    """The future that is done, once it is."""
    slow: bool = False
    """Relief has taken what was behind it away, and puts nothing there."""
    revoked: bool = False
    """Its task was taken away again before it began, as it seemed from here: whatever comes of this call
    counts for nothing, but that its worker is at it."""


Inbox = Callable[["Worker", Call, Any], None]


@dataclass(slots=True, eq=False)
class Worker:
    """One actor. `calls` is what it was asked and has not answered, oldest first."""

    spec: PoolSpec
    handle: Handle
    inbox: Inbox
    calls: deque[Call] = field(default_factory=deque)
    clock: float = field(default_factory=time.monotonic)
    """When the oldest call began, as seen from here: when the one before it ended."""
    ready: bool = False
    dead: bool = False
    alone: bool = False
    """It runs a suspect or a witness: nothing is put behind it."""
    stream: Task | None = None
    stream_number: int = 0
    held: dict[str, Task] = field(default_factory=dict)
    """Items that a gathering stage took and has not answered for."""
    held_bytes: int = 0
    held_since: float = math.inf
    bucket: int = -1
    spare: bool = False
    """Not one of the pool's own: it stands in while none of these can take work."""
    leaving: bool = False
    """A spare that is not needed any more: it ends what it has."""
    rss_bytes: int = 0

    def submit(self, call: Call, *arguments: Any) -> None:
        call.payload, reply = self.handle.submit(call.kind.name.lower(), *arguments)
        if not self.calls:
            self.clock = time.monotonic()
        self.calls.append(call)
        reply.add_done_callback(lambda future: self.inbox(self, call, future))

    @property
    def flushing(self) -> bool:
        return any(call.kind is Kind.FLUSH for call in self.calls)

    @property
    def counts(self) -> bool:
        """Whether anything comes of what it has."""
        return any(not call.revoked for call in self.calls)

    @property
    def stalled(self) -> bool:
        return bool(self.calls) and self.calls[0].slow

    def overdue(self, now: float, share: float = 1.0) -> bool:
        """Whether the oldest call has had (that share of) its time. An actor that waits for a place is not
        late."""
        if not self.calls or self.calls[0].kind is Kind.HELLO:
            return False
        return now - self.clock > share * self.allowed_seconds()

    def allowed_seconds(self) -> float:
        call = self.calls[0]
        if call.kind is Kind.SETUP:
            return self.spec.setup_deadline_seconds
        return self.spec.deadline.seconds(call.task.seconds if call.task is not None else 0.0)

    def hold(self, task: Task) -> None:
        self.release(task.key)
        if not self.held:
            self.held_since = time.monotonic()
        self.held[task.key] = task
        self.held_bytes += task.nbytes

    def release(self, key: str) -> Task | None:
        task = self.held.pop(key, None)
        if task is not None:
            self.held_bytes -= task.nbytes
        if not self.held:
            self.held_since = math.inf
        return task

    def kill(self) -> None:
        self.dead = True
        self.handle.kill()


def spawn(
    backend: Backend, spec: PoolSpec, pickled_stage: bytes, last: bool, inbox: Inbox, *, spare: bool = False
) -> Worker:
    """Asks for an actor and queues its first two calls; `hello` returns once it has a place.

    A spare asks for no CPU. The pools' own workers may have all that there is, and a spare with a share would
    wait for one of those to end, the very thing that it is there not to wait for. It does not crowd them
    either: it works on the share of a worker that gets nothing done.
    """
    threads, cpus = max(1, math.ceil(spec.cpus)), 0.0 if spare else spec.cpus
    handle = backend.start(spec, pickled_stage, cpus=cpus, threads=threads, last=last)
    worker = Worker(spec=spec, handle=handle, inbox=inbox, spare=spare)
    worker.submit(Call(Kind.HELLO))
    worker.submit(Call(Kind.SETUP), None if spec.gpus else spec.memory_mb)
    return worker
