"""Worker processes: how they start and end, and how their end is reported."""

from __future__ import annotations

import os
import pickle
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import psutil
import pytest

from mien.cluster.engine import Engine, ProcessBackend
from mien.cluster.engine.backends.fork_server import FORK, NUMBER, PROCESS_NAME, WAIT
from mien.cluster.engine.backends.interface import Fault, FaultKind, Handle
from mien.cluster.engine.backends.process_backend import ProcessHandle
from mien.cluster.engine.messages import Hello, Reply, Run, Setup, decode_reply, encode
from mien.ingest.errors import UnexpectedError
from mien.pipelines.stage import StageContext
from tests.cluster.engine.stages import Obey, Parcel, Recorder, Unpicklable, parcels, pool

SPEC = pool(Obey("a"), deadline=120)
SOON_SECONDS = 120.0


@pytest.fixture
def backend() -> Iterator[ProcessBackend]:
    opened = ProcessBackend([SPEC.stage], cpus=4)
    opened.open()
    yield opened
    opened.close()
    assert not fork_servers()


def children(matches: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # processes of a Ray of other tests start and end at any time
            if matches(child):
                found.append(child)
    return found


def fork_servers() -> list[psutil.Process]:
    return children(lambda child: any("fork_server.py" in word for word in child.cmdline()))


def workers() -> list[int]:
    return [child.pid for child in children(lambda child: child.name() == PROCESS_NAME)]


def ask(handle: Handle, request: object, payload: Any = None) -> Reply:
    return decode_reply(handle.submit(encode(request), payload)[1].result(SOON_SECONDS))


def ready_worker(backend: ProcessBackend, *, last: bool = False) -> tuple[Handle, int]:
    """A worker after its setup, and its process id."""
    handle = backend.start(SPEC, backend.pack(SPEC.stage, StageContext()), cpus=1.0, threads=1, last=last)
    assert ask(handle, Hello()).error is None
    assert ask(handle, Setup(500)).error is None
    return handle, workers()[0]


def fault(backend: ProcessBackend, future: Future[Any]) -> Fault:
    error = future.exception(SOON_SECONDS)
    assert error is not None
    return backend.fault("a", error)


def test_payloads_pass_the_driver_as_bytes(backend: ProcessBackend) -> None:
    first, _ = ready_worker(backend)
    payload, future = first.submit(encode(Run()), Parcel(key="p", body=bytes(3_000_000)))
    (output,) = decode_reply(future.result(SOON_SECONDS)).outputs
    assert (output.key, output.seconds, output.nbytes, output.item) == ("p", 1.0, 3_000_100, None)
    second, _ = ready_worker(backend, last=True)
    (output,) = ask(second, Run(), payload).outputs
    assert output.item is not None
    item = pickle.loads(output.item)  # noqa: S301 (from our own worker)
    assert (item.stages, len(item.body)) == (("a", "a"), 3_000_000)


@pytest.mark.parametrize(
    ("order", "text"),
    [("kill", "killed by SIGKILL"), ("die", "it ended with exit code 9"), ("orphan", "killed by SIGKILL")],
)
def test_death_is_reported_with_its_cause(backend: ProcessBackend, order: str, text: str) -> None:
    handle, _ = ready_worker(backend)
    _, reply = handle.submit(encode(Run()), Parcel(key="p", orders={"a": order}))
    _, behind = handle.submit(encode(Run()), Parcel(key="q"))
    died = fault(backend, reply)
    assert (died.kind, died.info.error_class) == (FaultKind.DIED, "WorkerDiedError")
    assert died.info.text == f"the worker of stage a died: {text}"
    assert fault(backend, behind).kind is FaultKind.DIED


def test_killed_worker_answers_nothing_and_is_reaped(backend: ProcessBackend) -> None:
    handle, pid = ready_worker(backend)
    _, running = handle.submit(encode(Run()), Parcel(key="p", orders={"a": "hang"}))
    _, waiting = handle.submit(encode(Run()), Parcel(key="q"))
    handle.kill()
    handle.kill()
    assert fault(backend, running).kind is FaultKind.DIED
    assert fault(backend, waiting).kind is FaultKind.DIED
    other, _ = ready_worker(backend)  # the fork server has answered the request before
    other.kill()
    assert not psutil.pid_exists(pid)


def test_worker_killed_before_its_start_never_starts(backend: ProcessBackend) -> None:
    handle = backend.start(SPEC, backend.pack(SPEC.stage, StageContext()), cpus=1.0, threads=1, last=False)
    handle.kill()
    survivor, pid = ready_worker(backend)
    assert workers() == [pid]
    survivor.kill()


def test_worker_survives_unpicklable_items(backend: ProcessBackend) -> None:
    handle, _ = ready_worker(backend)
    _, reply = handle.submit(encode(Run()), Unpicklable())
    assert fault(backend, reply).kind is FaultKind.RAISED
    error = ask(handle, Run(), Parcel(key="p", orders={"a": "unpicklable"})).error
    assert error is not None and error.error_class == "UnexpectedError"
    assert ask(handle, Run(), Parcel(key="q")).error is None


def test_workers_have_their_own_group_and_session(backend: ProcessBackend) -> None:
    pids = [ready_worker(backend)[1]]
    assert [os.getpgid(pid) for pid in pids] == pids
    assert os.getsid(pids[0]) != os.getsid(0)


def test_output_of_workers_is_not_shown(backend: ProcessBackend, capfd: pytest.CaptureFixture[str]) -> None:
    handle, _ = ready_worker(backend)
    assert ask(handle, Run(), Parcel(key="p", orders={"a": "chat"})).error is None
    assert capfd.readouterr() == ("", "")


def test_worker_that_fails_outside_a_call_has_died(backend: ProcessBackend) -> None:
    handle = ProcessHandle(backend.fork_server, b"not a WorkerStart")
    assert fault(backend, handle.submit(encode(Hello()))[1]).info.text.endswith("it ended with exit code 1")


def test_failed_fork_ends_one_worker_only(backend: ProcessBackend, monkeypatch: pytest.MonkeyPatch) -> None:
    fork_server = backend.fork_server
    with monkeypatch.context() as patch:
        # The end of the pipe is missing, as when too many files are open.
        patch.setattr(fork_server, "fork", lambda end: fork_server.ask(FORK, []))
        handle = backend.start(
            SPEC, backend.pack(SPEC.stage, StageContext()), cpus=1.0, threads=1, last=False
        )
        died = fault(backend, handle.submit(encode(Hello()))[1])
    assert died.kind is FaultKind.DIED and "too many processes or open files" in died.info.text
    ready_worker(backend)


def test_driver_that_ends_during_a_request_logs_nothing() -> None:
    opened = ProcessBackend([SPEC.stage], cpus=4)
    opened.open()
    _, pid = ready_worker(opened)
    socket.send_fds(opened.fork_server.control, [WAIT + NUMBER.pack(pid)], [])
    log = opened.fork_server.log
    with log.open("rb") as log_file:
        opened.close()
        assert log_file.read() == b""


def test_modules_that_cannot_be_imported_are_named() -> None:
    class MissingModule(Obey):
        imports = ("no.such.module",)

    observer = Recorder(parcels(1))
    with pytest.raises(UnexpectedError, match=r"died: ModuleNotFoundError: No module named 'no'"):
        Engine([SPEC], observer, backend=ProcessBackend([MissingModule("a")], cpus=4)).run()


def test_death_of_the_fork_server_ends_the_run() -> None:
    observer = Recorder(parcels(500, a=dict.fromkeys(range(500), "sleep 0.05")))
    engine = Engine([SPEC], observer, backend=ProcessBackend([SPEC.stage], cpus=4))
    killed: list[int] = []

    def kill(_: object) -> None:
        for process in fork_servers():
            if process.name() != PROCESS_NAME and not killed:
                killed.append(process.pid)
                os.kill(process.pid, signal.SIGKILL)

    observer.on_tick = kill
    with pytest.raises(UnexpectedError, match="fork server of the workers died: killed") as caught:
        engine.run()
    assert killed
    assert "\n" not in str(caught.value)
    assert not fork_servers()
