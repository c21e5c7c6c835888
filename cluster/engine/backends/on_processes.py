"""Workers as processes of this machine, without Ray: up in a moment, for runs that are short.

They are forked from a process that has imported what they need (fork_server.py), so each costs
milliseconds and little memory. Payloads travel through the driver's memory: good for what a node does alone
and returns as metadata, such as fetching. Everything that the engine promises of its workers holds here as it
does on Ray.
"""

from __future__ import annotations

import json
import os
import pickle
import signal
import socket
import subprocess
import sys
from collections.abc import Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from threading import Event, Lock
from typing import Any

from mien.cluster.engine.actor import THREAD_VARIABLES, Reply
from mien.cluster.engine.backends.fork_server import BURY, FORK, NUMBER
from mien.cluster.engine.backends.guard import MARK, Guard
from mien.cluster.engine.backends.interface import Fault, Handle, What
from mien.cluster.engine.backends.serving import Parcel
from mien.cluster.engine.errors import classify, plain
from mien.cluster.engine.feasibility import Node
from mien.cluster.engine.interface import PoolSpec
from mien.ingest.errors import UnexpectedError
from mien.pipelines.stage import Stage, StageContext

SERVING = "mien.cluster.engine.backends.serving"


class _GoneError(Exception):
    """The worker's process has ended: how."""


class _ForkServerGoneError(Exception):
    """So has what it was forked from: what it said last."""


def _fork_server_died(last_words: str) -> str:
    return f"what workers are forked from has died: {last_words or 'killed'}; run again to go on"


class ProcessBackend:
    def __init__(self, stages: Iterable[Stage], *, cpus: float) -> None:
        """`stages`: what is loaded for them is loaded once for all their workers. `cpus`: what the workers
        may ask for in sum, as of a Ray of one node."""
        self._cpus = cpus
        self._modules = {SERVING: None}
        for stage in stages:
            self._modules |= dict.fromkeys((type(stage).__module__, *stage.imports))
        self._guard: Guard
        self._fork_server: _ForkServer

    def open(self) -> None:
        self._guard = Guard()
        self._fork_server = _ForkServer(self._guard.folder, list(self._modules))

    def nodes(self) -> list[Node]:
        return [(self._cpus, 0.0)]

    def pack(self, stage: Stage, context: StageContext) -> bytes:
        return pickle.dumps((stage, context))

    def start(self, spec: PoolSpec, stage: bytes, *, cpus: float, threads: int, last: bool) -> Handle:
        return _ProcessHandle(self._fork_server, (stage, threads, last, spec.report))

    def fault(self, stage: str, error: BaseException) -> Fault:
        if isinstance(error, _GoneError):
            return Fault(What.DIED, plain("WorkerDiedError", f"the worker of stage {stage} died: {error}"))
        if isinstance(error, _ForkServerGoneError):
            return Fault(What.UNPLACEABLE, plain("UnexpectedError", _fork_server_died(str(error))))
        return Fault(What.RAISED, classify(error))

    def check_alive(self) -> None:
        self._fork_server.check_alive()

    def close(self) -> None:
        self._fork_server.close()
        self._guard.close()


class _ForkServer:
    def __init__(self, folder: str, modules: list[str]) -> None:
        self._control, theirs = socket.socketpair()
        # Of workers as well: the terminal is the command's, and what they print is no part of its output.
        self._log = Path(folder) / "workers.log"
        with theirs, self._log.open("ab") as log:
            program = str(Path(__file__).with_name("fork_server.py"))
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", program, json.dumps(sys.path), *modules],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                # One thread each: numpy reads these once, when it is imported.
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), MARK: folder},
                start_new_session=True,  # Ctrl-C is the driver's alone
            )
        self._one_at_a_time = Lock()

    def fork(self, end: Connection) -> int:
        return self._ask(FORK, [end.fileno()])

    def bury(self, pid: int) -> str:
        """How the worker ended."""
        with suppress(ProcessLookupError, PermissionError):
            # What it started. A dead leader keeps its number until it is buried.
            os.killpg(pid, signal.SIGKILL)
        status = self._ask(BURY + NUMBER.pack(pid), [])
        if status < 0:
            return "nobody knows how"
        code = os.waitstatus_to_exitcode(status)
        return f"it ended with exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            raise UnexpectedError(_fork_server_died(self._last_words()))

    def close(self) -> None:
        with self._one_at_a_time:  # an answer takes seconds at most
            self._control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)

    def _ask(self, question: bytes, descriptors: list[int]) -> int:
        """Raises _ForkServerGoneError."""
        try:
            with self._one_at_a_time:
                socket.send_fds(self._control, [question], descriptors)
                answer = self._control.recv(NUMBER.size, socket.MSG_WAITALL)
        except OSError as error:
            raise _ForkServerGoneError(self._last_words()) from error
        if len(answer) != NUMBER.size:
            raise _ForkServerGoneError(self._last_words())
        number: int = NUMBER.unpack(answer)[0]
        return number

    def _last_words(self) -> str:
        """The last line that it or a worker of its printed, such as of a failed import."""
        with suppress(OSError, subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
            if self._process.returncode >= 0:
                lines = self._log.read_text(errors="replace").strip().splitlines()
                return lines[-1] if lines else ""
        return ""


class _ProcessHandle:
    """A thread that asks and waits, for one worker: the driver's own never waits for a pipe."""

    def __init__(self, fork_server: _ForkServer, actor: tuple[Any, ...]) -> None:
        self._fork_server, self._actor = fork_server, actor
        self._asking = ThreadPoolExecutor(1, thread_name_prefix="mien-worker")
        self._connection: Connection | None = None
        self._pid = 0
        self._killing, self._killed = Lock(), Event()

    def submit(self, method: str, *arguments: Any) -> tuple[Any, Future[Reply]]:
        parcel = Parcel()
        return parcel, self._asking.submit(self._ask, method, arguments, parcel)

    def kill(self) -> None:
        with self._killing:
            if self._killed.is_set():
                return
            self._killed.set()
            if self._pid > 0:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
        self._asking.submit(self._end)
        self._asking.shutdown(wait=False)

    def _ask(self, method: str, arguments: tuple[Any, ...], parcel: Parcel) -> Reply:
        asked = pickle.dumps((method, arguments), pickle.HIGHEST_PROTOCOL)
        try:
            connection = self._connected()
            connection.send_bytes(asked)
            parcel.data, reply = connection.recv()
        except (EOFError, OSError) as error:
            raise _GoneError(self._end()) from error
        unpacked: Reply = pickle.loads(reply)  # noqa: S301 (of our own worker)
        return unpacked

    def _connected(self) -> Connection:
        if self._connection is not None:
            return self._connection
        if self._killed.is_set() or self._pid < 0:
            raise EOFError
        ours, theirs = Pipe()
        with theirs:
            pid = self._fork_server.fork(theirs)
        if pid < 0:
            ours.close()
            raise _GoneError("it could not be started: too many processes or files, or too little memory")
        with self._killing:
            self._pid = pid
        if self._killed.is_set():  # meanwhile
            ours.close()
            raise EOFError
        self._connection = ours
        ours.send(self._actor)
        return ours

    def _end(self) -> str:
        """Closes the pipe; returns how the worker ended."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        with self._killing:
            pid, self._pid = self._pid, -1
        return self._fork_server.bury(pid) if pid > 0 else "it had ended already"
