"""Starts the worker processes, sends them requests, receives their replies, and replaces workers that die."""

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
from mien.models.reader.loader.worker import Assignment, BuildRequest, Failed, Ready
from mien.models.reader.log import logger

_STARTING = -1
MAX_DEATHS = 3
"""Workers that may die over one batch, or while starting, before the loader gives up."""
_PROGRAM = "from mien.models.reader.loader.worker import main; main()"


@dataclass(slots=True)
class _Worker:
    process: subprocess.Popen[bytes]
    pipe: Any
    requests: deque[BuildRequest] = field(default_factory=deque)
    """Unanswered requests, oldest first. The worker is working on the first one."""
    ready: bool = False


class WorkerPool:
    """Raises UsageError if the collator cannot be pickled."""

    def __init__(self, assign: Callable[[int], Assignment], count: int, descriptors: tuple[int, ...]) -> None:
        self._assign, self._descriptors = assign, descriptors
        self._deaths: dict[int, int] = {}
        """By task number, or _STARTING."""
        self._given_up: LoaderWorkerError | None = None
        self.workers: list[_Worker] = []
        self._kill_all = weakref.finalize(self, _kill_all, self.workers, os.getpid())
        try:
            for number in range(count):
                self.workers.append(self._start(number))
        except BaseException:
            self.close()
            raise

    def _start(self, number: int) -> _Worker:
        try:
            assignment = pickle.dumps(self._assign(number))
        except (pickle.PicklingError, AttributeError, TypeError) as error:
            raise UsageError(
                f"a field cannot be sent to a worker process ({error}); define its class in a module, "
                "or use workers=0"
            ) from error
        mine, theirs = socket.socketpair()
        with theirs:
            environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
            # Several workers share the cores, so a library must not start one thread per core in each.
            environment |= {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
            process = subprocess.Popen(  # noqa: S603 - our own interpreter
                [sys.executable, "-c", _PROGRAM, str(theirs.fileno()), str(os.getpid())],
                pass_fds=(theirs.fileno(), *self._descriptors),
                stdin=subprocess.DEVNULL,
                env=environment,
            )
        pipe = Connection(mine.detach())
        with suppress(OSError):  # the worker is already dead; `receive` notices that
            pipe.send_bytes(assignment)
        return _Worker(process, pipe)

    @property
    def pids(self) -> list[int]:
        return [worker.process.pid for worker in self.workers]

    def least_loaded(self) -> tuple[int, int]:
        """(worker, unanswered requests) of the worker with the fewest unanswered requests."""
        loads = [(len(worker.requests), number) for number, worker in enumerate(self.workers)]
        load, number = min(loads)
        return number, load

    def send(self, number: int, request: BuildRequest) -> None:
        worker = self.workers[number]
        worker.requests.append(request)
        _send(worker, request)

    def receive(self, timeout_seconds: float) -> Iterator[tuple[BuildRequest, EncodedBatch | Failed]]:
        """Replies that arrive within the timeout; there may be none. Replaces dead workers.

        Raises LoaderWorkerError if workers keep dying over the same batch.
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
                # Occasional deaths in a long training must not add up as failures to start.
                self._deaths.pop(_STARTING, None)
            elif isinstance(message, Failed) and message.number < 0:
                if message.trace:
                    logger.error("%s", message.trace)
                raise message.error
            else:
                self._deaths.pop(message.number, None)
                yield worker.requests.popleft(), message

    def worker_of(self, task: int | None) -> int | None:
        """The worker that has the request for this task; for None, a worker that has any request."""
        for number, worker in enumerate(self.workers):
            if any(task in {None, request.task.number} for request in worker.requests):
                return number
        return None

    def _replace(self, number: int) -> None:
        dead = self.workers[number]
        dead.pipe.close()
        dead.process.kill()
        code = dead.process.wait()
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with status {code}"
        task = dead.requests[0].task.number if dead.requests and dead.ready else _STARTING
        self._deaths[task] = self._deaths.get(task, 0) + 1
        if self._deaths[task] >= MAX_DEATHS:
            when = f"while building batch {task}" if task >= 0 else "while starting"
            self._given_up = LoaderWorkerError(
                f"worker {number} {how} {when}; this is death number {MAX_DEATHS}, so the loader gives up. "
                "Possible causes: the system's memory limit (SIGKILL), a shard truncated while it was read "
                "(SIGBUS), or an error that the worker printed above"
            )
            raise self._given_up
        logger.warning("worker %d (pid %d) %s; starting a replacement", number, dead.process.pid, how)
        replacement = self.workers[number] = self._start(number)
        replacement.requests.extend(dead.requests)
        for request in replacement.requests:
            _send(replacement, request)

    def close(self) -> None:
        self._kill_all()


def _send(worker: _Worker, request: BuildRequest) -> None:
    with suppress(OSError):  # the worker died; `receive` notices that and sends the request to a replacement
        worker.pipe.send(request)


def _kill_all(workers: list[_Worker], owner: int) -> None:
    """A kill cannot damage anything: the shard cache tolerates it, and buffers have no names."""
    if os.getpid() != owner:
        return  # a fork of the trainer has a copy of this list, but the workers are not its children
    for worker in workers:
        worker.pipe.close()
        worker.process.kill()
    for worker in workers:
        worker.process.wait()
