"""Workers as processes of this machine, without Ray: they start fast, which suits short runs.

Workers are forked from a process that has imported what they need (fork_server.py), so each costs
milliseconds and little memory. Payloads travel through the driver's memory. That suits work that one node
does alone and that returns metadata, such as fetching. The engine's guarantees hold here as they do on Ray.
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

from mien.cluster.engine.actor import THREAD_VARIABLES
from mien.cluster.engine.backends.fork_server import FORK, NUMBER, WAIT
from mien.cluster.engine.backends.guard import MARK, Guard
from mien.cluster.engine.backends.interface import Fault, FaultKind, Handle
from mien.cluster.engine.errors import classify, permanent_error
from mien.cluster.engine.feasibility import Node
from mien.cluster.engine.interface import PoolSpec
from mien.cluster.engine.messages import Envelope, WorkerStart, decode_envelope, encode
from mien.ingest.errors import UnexpectedError
from mien.pipelines.stage import Stage, StageContext

_ACTOR_MODULE = "mien.cluster.engine.actor"


class _WorkerEndedError(Exception):
    """A worker process has ended; the text says how."""


class _ForkServerEndedError(Exception):
    """The fork server has ended; the text is the last line of its log."""


def _fork_server_died(last_line: str) -> str:
    return f"the fork server of the workers died: {last_line or 'killed'}; rerun to continue"


class ProcessBackend:
    def __init__(self, stages: Iterable[Stage], *, cpus: float) -> None:
        """`stages`: their modules are imported once for all workers. `cpus`: the sum that the workers may
        request, as on a Ray cluster of one node."""
        self._cpus = cpus
        self._modules = {_ACTOR_MODULE: None}
        for stage in stages:
            self._modules |= dict.fromkeys((type(stage).__module__, *stage.imports))
        self._guard: Guard
        self.fork_server: ForkServer

    def open(self) -> None:
        self._guard = Guard()
        self.fork_server = ForkServer(self._guard.folder, list(self._modules))

    def nodes(self) -> list[Node]:
        return [(self._cpus, 0.0)]

    def pack(self, stage: Stage, context: StageContext) -> bytes:
        return pickle.dumps((stage, context))

    def start(self, spec: PoolSpec, stage: bytes, *, cpus: float, threads: int, last: bool) -> Handle:
        start = WorkerStart(stage, threads, last, spec.reports_outputs)
        return ProcessHandle(self.fork_server, encode(start))

    def fault(self, stage: str, error: BaseException) -> Fault:
        if isinstance(error, _WorkerEndedError):
            text = f"the worker of stage {stage} died: {error}"
            return Fault(FaultKind.DIED, permanent_error("WorkerDiedError", text))
        if isinstance(error, _ForkServerEndedError):
            text = _fork_server_died(str(error))
            return Fault(FaultKind.UNPLACEABLE, permanent_error("UnexpectedError", text))
        return Fault(FaultKind.RAISED, classify(error))

    def check_alive(self) -> None:
        self.fork_server.check_alive()

    def close(self) -> None:
        self.fork_server.close()
        self._guard.close()


class ForkServer:
    """The driver's side of fork_server.py."""

    def __init__(self, folder: str, modules: list[str]) -> None:
        self.control, theirs = socket.socketpair()
        # Workers write to this file too: what they print is not part of the command's output.
        self.log = Path(folder) / "workers.log"
        with theirs, self.log.open("ab") as log:
            program = str(Path(__file__).with_name("fork_server.py"))
            self._process = subprocess.Popen(  # noqa: S603
                [sys.executable, "-P", program, json.dumps(sys.path), *modules],
                stdin=theirs.fileno(),
                stdout=log,
                stderr=log,
                # One thread each: numpy reads these variables once, when it is imported.
                env={**os.environ, **dict.fromkeys(THREAD_VARIABLES, "1"), MARK: folder},
                start_new_session=True,  # Ctrl-C reaches only the driver
            )
        self._one_at_a_time = Lock()

    def fork(self, end: Connection) -> int:
        """The process id of a new worker that has the `end` of a pipe, or -1."""
        return self.ask(FORK, [end.fileno()])

    def wait_for(self, pid: int) -> str:
        """Kills the process group of worker `pid`; returns how the worker ended."""
        with suppress(ProcessLookupError, PermissionError):
            # This kills its child processes. A dead leader keeps its id until the server waits for it.
            os.killpg(pid, signal.SIGKILL)
        status = self.ask(WAIT + NUMBER.pack(pid), [])
        if status < 0:
            return "its exit status is unknown"
        code = os.waitstatus_to_exitcode(status)
        return f"it ended with exit code {code}" if code >= 0 else f"killed by {signal.Signals(-code).name}"

    def check_alive(self) -> None:
        if self._process.poll() is not None:
            raise UnexpectedError(_fork_server_died(self._last_line()))

    def close(self) -> None:
        with self._one_at_a_time:  # an answer takes seconds at most
            self.control.close()
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=5)

    def ask(self, request: bytes, descriptors: list[int]) -> int:
        """Raises _ForkServerEndedError."""
        try:
            with self._one_at_a_time:
                socket.send_fds(self.control, [request], descriptors)
                answer = self.control.recv(NUMBER.size, socket.MSG_WAITALL)
        except OSError as error:
            raise _ForkServerEndedError(self._last_line()) from error
        if len(answer) != NUMBER.size:
            raise _ForkServerEndedError(self._last_line())
        number: int = NUMBER.unpack(answer)[0]
        return number

    def _last_line(self) -> str:
        """The last line that the server or a worker printed, such as the error of a failed import."""
        with suppress(OSError, subprocess.TimeoutExpired):
            self._process.wait(timeout=1)
            if self._process.returncode >= 0:
                lines = self.log.read_text(errors="replace").strip().splitlines()
                return lines[-1] if lines else ""
        return ""


class PayloadBytes:
    """A payload on its way from one worker to another. The driver holds its pickle and never unpickles it."""

    def __init__(self) -> None:
        self.data = b""


class ProcessHandle:
    """A thread sends requests and waits for replies, so that the driver's own thread never blocks."""

    def __init__(self, fork_server: ForkServer, start: bytes) -> None:
        """`start`: an encoded `WorkerStart`."""
        self._fork_server, self._start = fork_server, start
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="mien-worker")
        self._connection: Connection | None = None
        self._pid = 0
        self._killing, self._killed = Lock(), Event()

    def submit(self, request: bytes, payload: Any = None) -> tuple[Any, Future[bytes]]:
        result = PayloadBytes()
        return result, self._thread.submit(self._ask, request, payload, result)

    def kill(self) -> None:
        with self._killing:
            if self._killed.is_set():
                return
            self._killed.set()
            if self._pid > 0:
                with suppress(ProcessLookupError):
                    os.killpg(self._pid, signal.SIGKILL)
        self._thread.submit(self._end)
        self._thread.shutdown(wait=False)

    def _ask(self, request: bytes, payload: Any, result: PayloadBytes) -> bytes:
        if isinstance(payload, PayloadBytes):
            packed = payload.data
        else:
            packed = b"" if payload is None else pickle.dumps(payload, pickle.HIGHEST_PROTOCOL)
        data = encode(Envelope(request, packed))
        try:
            connection = self._connected()
            connection.send_bytes(data)
            answer = connection.recv_bytes()
        except (EOFError, OSError) as error:
            raise _WorkerEndedError(self._end()) from error
        reply = decode_envelope(answer)
        result.data = reply.payload
        return reply.message

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
            raise _WorkerEndedError(
                "it could not be started: too many processes or open files, or too little memory"
            )
        with self._killing:
            self._pid = pid
        if self._killed.is_set():  # in the meantime
            ours.close()
            raise EOFError
        self._connection = ours
        ours.send_bytes(self._start)
        return ours

    def _end(self) -> str:
        """Closes the pipe; returns how the worker ended."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        with self._killing:
            pid, self._pid = self._pid, -1
        return self._fork_server.wait_for(pid) if pid > 0 else "it had already ended"
