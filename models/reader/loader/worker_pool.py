"""The workers as their parent sees them: started, given orders, listened to, replaced when they die."""

from __future__ import annotations

import os
import pickle
import signal
import socket
import subprocess
import sys
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from typing import Any

from mien.ingest.errors import LoaderWorkerError, UsageError
from mien.models.reader.loader.batch_builder import EncodedBatch
from mien.models.reader.loader.worker import Assignment, Failed, Order, Ready
from mien.models.reader.locks import logger

_STARTING = -1
DEATHS = 3
"""As often may workers die over one batch (or over starting) until it is given up."""
_PROGRAM = "from mien.models.reader.loader.worker import main; main()"


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Any
    orders: deque[Order] = field(default_factory=deque)
    """Not answered yet, the oldest first: that is what it is at."""
    ready: bool = False


class WorkerPool:
    """Raises UsageError where the collator cannot travel."""

    def __init__(self, assign: Callable[[int], Assignment], count: int, descriptors: tuple[int, ...]) -> None:
        self._assign, self._descriptors = assign, descriptors
        self._deaths: dict[int, int] = {}
        """By number of the task, or _STARTING."""
        self._given_up: LoaderWorkerError | None = None
        self.workers: list[_Worker] = []
        self._end = weakref.finalize(self, _end, self.workers, os.getpid())
        try:
            for number in range(count):
                self.workers.append(self._start(number))
        except BaseException:
            self.close()
            raise

    def _start(self, number: int) -> _Worker:
        try:
            told = pickle.dumps(self._assign(number))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"a field cannot be sent to a worker, {error}; define it in a module, or use workers=0"
            ) from error
        mine, theirs = socket.socketpair()
        with theirs:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            # A worker is one of many: libraries that start a thread a core would only be in each other's way.
            environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(), *self._descriptors),
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        pipe = Connection(mine.detach())
        with suppress(OSError):  # dead already, which is noticed when it is listened to
            pipe.send_bytes(told)
        return _Worker(process, pipe)

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self.workers]

    def freest(self) -> tuple[int, int]:
        """(worker, its unanswered orders) of the one with the fewest."""
        loads = [(len(worker.orders), number) for number, worker in enumerate(self.workers)]
        load, number = min(loads)
        return number, load

    def give(self, number: int, order: Order) -> None:
        worker = self.workers[number]
        worker.orders.append(order)
        _send(worker, order)

    def listen(self, timeout_seconds: float) -> Iterator[tuple[Order, EncodedBatch | Failed]]:
        """What came within the timeout, maybe nothing. Replaces the dead.

        Raises LoaderWorkerError: workers die again and again over the same batch.
        """
        if self._given_up is not None:
            raise self._given_up
        pipes = {worker.pipe: number for number, worker in enumerate(self.workers)}
        for pipe in wait(list(pipes), timeout_seconds):
            number = pipes[pipe]
            worker = self.workers[number]
            try:
                message = worker.pipe.recv()
            except (EOFError, OSError):
                self._replace(number)
                continue
            if isinstance(message, Ready):
                worker.ready = True
                self._deaths.pop(
                    _STARTING, None
                )  # a death now and then in a long training is none over starting
            elif isinstance(message, Failed) and message.number < 0:
                if message.trace:
                    logger.error("%s", message.trace)
                raise message.error
            else:
                self._deaths.pop(message.number, None)
                yield worker.orders.popleft(), message

    def at(self, number: int | None) -> int | None:
        """The worker that has the order for this task, or, of None, one that has any."""
        for worker, state in enumerate(self.workers):
            if any(number in {None, order.task.number} for order in state.orders):
                return worker
        return None

    def _replace(self, number: int) -> None:
        dead = self.workers[number]
        dead.pipe.close()
        dead.process.kill()
        code = dead.process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        task = dead.orders[0].task.number if dead.orders and dead.ready else _STARTING
        self._deaths[task] = self._deaths.get(task, 0) + 1
        if self._deaths[task] >= DEATHS:
            at = f"over batch {task}" if task >= 0 else "before it had begun"
            self._given_up = LoaderWorkerError(
                f"worker {number} {how} {at}, the {DEATHS}rd time; "
                "look for the system's memory limit (SIGKILL), a shard cut short meanwhile (SIGBUS), "
                "or its own last words above"
            )
            raise self._given_up
        logger.warning("worker %d (pid %d) %s; another one takes over", number, dead.process.pid, how)
        fresh = self.workers[number] = self._start(number)
        fresh.orders.extend(dead.orders)
        for order in fresh.orders:
            _send(fresh, order)

    def close(self) -> None:
        self._end()


def _send(worker: _Worker, order: Order) -> None:
    with suppress(OSError):  # it died; `listen` finds out, and sends the order to the next one
        worker.pipe.send(order)


def _end(workers: list[_Worker], owner: int) -> None:
    """They hold nothing that a kill could hurt: the shard cache survives it, slots have no names."""
    if os.getpid() != owner:
        return  # a fork of the trainer, which has a copy of this but not the workers
    for worker in workers:
        worker.pipe.close()
        worker.process.kill()
    for worker in workers:
        worker.process.wait()
