"""An engine whose backend is scripted by the test: no Ray, no processes, and events in any order."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import Any

from mien.cluster.engine import Engine, ErrorInfo, PoolSpec
from mien.cluster.engine.backends.interface import Fault, FaultKind
from mien.cluster.engine.errors import permanent_error
from mien.cluster.engine.feasibility import Node
from mien.cluster.engine.messages import Output, Reply, ReplyStatus, encode
from mien.cluster.engine.worker import Worker, WorkerState, WorkItem
from mien.ingest.errors import Policy
from mien.pipelines.stage import Stage, StageContext
from tests.cluster.engine.stages import Obey, pool

DEADLINE_SECONDS = 20_000.0
"""Much longer than what the clock advances by itself."""


class Clock:
    """Stands still until the test advances it."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class DiedError(Exception):
    """The exception of the calls of a dead worker."""


class NoNodeError(Exception):
    """No node has a place for the worker."""


class ScriptedHandle:
    def submit(self, request: bytes, payload: Any = None) -> tuple[Any, Future[bytes]]:
        return None, Future()

    def kill(self) -> None: ...


class ScriptedBackend:
    """Its workers answer only when the test says so."""

    def open(self) -> None: ...

    def nodes(self) -> list[Node]:
        return [(1000.0, 1000.0)]

    def pack(self, stage: Stage, context: StageContext) -> bytes:
        return b""

    def start(self, spec: PoolSpec, stage: bytes, *, cpus: float, threads: int, last: bool) -> ScriptedHandle:
        return ScriptedHandle()

    def fault(self, stage: str, error: BaseException) -> Fault:
        kind = FaultKind.UNPLACEABLE if isinstance(error, NoNodeError) else FaultKind.DIED
        return Fault(kind, permanent_error("WorkerDiedError", f"the worker of stage {stage} died"))

    def check_alive(self) -> None: ...

    def close(self) -> None: ...


class ScriptedRun:
    """A run over the tested stage, `pool`, and `after`, a queue whose items the test takes."""

    def __init__(self, spec: PoolSpec, after: PoolSpec, *, max_attempts: int = 3) -> None:
        self.clock = Clock()
        self.engine = Engine(
            [spec, after],
            self,  # type: ignore[arg-type]
            backend=ScriptedBackend(),
            max_attempts=max_attempts,
            max_consecutive_failures=None,
            clock=self.clock,
            poll_seconds=0.0,
        )
        self.engine.start()
        self.pool, self.after = self.engine.pools
        self.all_workers: list[Worker] = []
        """In the order in which they were started, dead ones included."""
        self.passed: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.classes: dict[str, str] = {}
        self._note_workers()
        for worker in list(self.all_workers):
            self.start(worker)

    # What the test does

    def push(self, *keys: str) -> None:
        for key in keys:
            self.pool.push(WorkItem(key=key, seconds=1.0, nbytes=10, payload=None, index=None, parent=key))
        self._step()

    def start(self, worker: Worker) -> None:
        """Answers the first two calls, `Hello` and `Setup`."""
        self.answer(worker, reply())
        self.answer(worker, reply())

    def answer(self, worker: Worker, answer: Reply | None = None) -> None:
        """Answers the oldest call; by default its item passes."""
        call = worker.calls[0]
        passes = reply(call.item.key) if call.item is not None else reply()
        call.future.set_result(encode(answer or passes))
        self._step()

    def die(self, worker: Worker, error: Exception | None = None) -> None:
        """Each call of a dead worker ends with an exception, as on Ray."""
        for call in list(worker.calls):
            call.future.set_exception(error or DiedError())
        self._step()

    def let_pass(self, worker: Worker, share: float) -> None:
        """Lets the oldest call of `worker` use this share of its deadline."""
        worker.oldest_call_since -= share * DEADLINE_SECONDS
        self.check_deadlines()

    def check_deadlines(self) -> None:
        self.clock.now += 0.2
        self._step()

    def _step(self) -> None:
        taken = True
        while taken:
            self.engine.step()
            taken = bool(self.after.queue)
            for item in self.after.queue:
                self.passed[item.key] += 1
                self.after.queued_bytes -= item.nbytes
            self.after.queue.clear()
        self.engine.step()
        self._note_workers()

    def _note_workers(self) -> None:
        new = self.pool.workers - set(self.all_workers)
        self.all_workers += sorted(new, key=lambda worker: worker.is_backup)

    # What the test sees

    @property
    def alive(self) -> list[Worker]:
        return [worker for worker in self.all_workers if not worker.dead]

    @property
    def backups(self) -> list[Worker]:
        return [worker for worker in self.alive if worker.is_backup]

    def state(self, worker: Worker) -> WorkerState:
        return worker.state

    def is_gone(self, worker: Worker) -> bool:
        return worker.dead and worker not in self.pool.workers

    def running(self, worker: Worker) -> list[str]:
        """Keys of its calls whose results count."""
        return [call.item.key for call in worker.calls if call.item is not None and not call.revoked]

    # The observer

    def next_inputs(self, limit: int) -> None:
        return None

    def failed(self, key: str, stage: str, error: ErrorInfo, item_seconds: float) -> None:
        self.failures[key] += 1
        self.classes[key] = error.error_class

    def exhausted(self, key: str, count: int) -> None: ...
    def tick(self, snapshot: object) -> None: ...


def reply(*keys: str, status: ReplyStatus = ReplyStatus.OK) -> Reply:
    return Reply(status, 1, outputs=tuple(Output(key, 1.0, 1) for key in keys))


def error_reply(error_class: str) -> Reply:
    return Reply(
        ReplyStatus.FAILED,
        1,
        error=ErrorInfo(error_class=error_class, text="a message", policy=Policy.PERMANENT),
    )


def scripted_run(workers: int = 2, *, stage: Any = None, room: int = 100, **more: Any) -> ScriptedRun:
    spec = pool(stage or Obey("a"), workers=workers, deadline=DEADLINE_SECONDS, **more)
    return ScriptedRun(spec, pool(Obey("b"), queue_items=room))
