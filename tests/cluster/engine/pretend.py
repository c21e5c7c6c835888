"""An engine over workers that are played by the test: no Ray, no processes, and any order of events."""

from __future__ import annotations

import time
from collections import Counter
from concurrent.futures import Future
from typing import Any

from mien.cluster.engine import Engine, ErrorInfo, PoolSpec
from mien.cluster.engine.backends.interface import Backend
from mien.cluster.engine.flow import Flow
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Call, Inbox, Kind, Task, Worker
from tests.cluster.engine.stages import Obey, pool

DEADLINE_SECONDS = 20_000.0
"""So long that what passes while a test runs is no share of it."""
NOBODY: Any = None


class Played(Worker):
    """What it is asked, it is asked in vain, until the test answers."""

    def submit(self, call: Call, *arguments: Any) -> None:
        if not self.calls:
            self.clock = time.monotonic()
        self.calls.append(call)

    def kill(self) -> None:
        self.dead = True


class Stand(Pool):
    """A pool of played workers, in the order in which they came."""

    def __init__(self, spec: PoolSpec, **more: Any) -> None:
        super().__init__(spec, pickled_stage=b"", **more)
        self.ever: list[Worker] = []

    def spawn(self, backend: Backend, inbox: Inbox, *, spare: bool = False) -> None:
        worker = Played(spec=self.spec, handle=NOBODY, inbox=inbox, spare=spare)
        worker.submit(Call(Kind.HELLO))
        worker.submit(Call(Kind.SETUP))
        self.workers.add(worker)
        self.ever.append(worker)


class Play:
    """The tested stage `pool`, and `after` it a queue that the test empties."""

    def __init__(self, spec: PoolSpec, after: PoolSpec, *, max_attempts: int = 3) -> None:
        self.engine = Engine([spec, after], self, max_attempts=max_attempts)  # type: ignore[arg-type]
        self.pool = Stand(spec, before=None, last=False)
        self.after = Stand(after, before=self.pool, last=True)
        self.engine._pools = [self.pool, self.after]
        self.engine._inputs_ended = True
        self.engine._flow = Flow(
            [self.pool, self.after],
            self,  # type: ignore[arg-type]
            self.engine._on_done,
            self.engine._backend,
            max_attempts=max_attempts,
            max_consecutive_failures=None,
        )
        self.passed: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.classes: dict[str, str] = {}
        for _ in range(spec.workers):
            self.pool.spawn(self.engine._backend, self.engine._on_done)
        for worker in list(self.pool.ever):
            self.start(worker)

    # What the test does

    def push(self, *keys: str) -> None:
        for key in keys:
            self.pool.push(Task(key=key, seconds=1.0, nbytes=10, payload=None, index=None, parent=key))
        self._turn()

    def start(self, worker: Worker) -> None:
        """Answers what `worker` was asked first."""
        self.answer(worker, reply("ok"))
        self.answer(worker, reply("ok"))

    def answer(self, worker: Worker, *told: list[Any]) -> None:
        """To the oldest call; by itself, that its item passes."""
        call = worker.calls[0]
        key = call.task.key if call.task is not None else ""
        future: Future[Any] = Future()
        future.set_result(told[0] if told else reply("ok", key))
        self.engine._on_done(worker, call, future)
        self._turn()

    def die(self, worker: Worker, error: Exception | None = None) -> None:
        """As Ray tells it: by each of its calls."""
        from ray.exceptions import ActorDiedError

        for call in list(worker.calls):
            future: Future[Any] = Future()
            future.set_exception(error or ActorDiedError())
            self.engine._on_done(worker, call, future)
        self._turn()

    def let_pass(self, worker: Worker, share: float) -> None:
        """That share of a deadline, for the oldest call of `worker`."""
        worker.clock -= share * DEADLINE_SECONDS
        self.engine._look_for_late(time.monotonic())
        self._turn()

    def look(self) -> None:
        self.engine._look_for_late(time.monotonic())
        self._turn()

    def _turn(self) -> None:
        while not self.engine._inbox.empty():
            self.engine._take_events()
        for task in self.after.queue:
            self.passed[task.key] += 1
            self.after.queued_bytes -= task.nbytes
        self.after.queue.clear()
        self.pool.dispatch()

    # What it sees

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.pool.ever if not worker.dead]

    @property
    def spares(self) -> list[Worker]:
        return [worker for worker in self.alive if worker.spare]

    def is_gone(self, worker: Worker) -> bool:
        return worker.dead and worker not in self.pool.workers

    def running(self, worker: Worker) -> list[str]:
        """Keys of its calls that count."""
        return [call.task.key for call in worker.calls if call.task is not None and not call.revoked]

    # The observer

    def failed(self, key: str, stage: str, error: ErrorInfo, item_seconds: float) -> None:
        self.failures[key] += 1
        self.classes[key] = error.error_class

    def exhausted(self, key: str, count: int) -> None: ...


def reply(kind: str, *keys: str) -> list[Any]:
    return [kind, 1, 0.0, [[key, 1.0, 1, None, False, [], None] for key in keys], None]


def trouble(error_class: str) -> list[Any]:
    return ["error", 1, 0.0, [], [error_class, "it says", "permanent", "", [False, None, 0, 0]]]


def a_play(workers: int = 2, *, stage: Any = None, room: int = 100, **more: Any) -> Play:
    spec = pool(stage or Obey("a"), workers=workers, deadline=DEADLINE_SECONDS, **more)
    return Play(spec, pool(Obey("b"), queue_items=room))
