"""Workers as processes: where they come from, how they end, and what is said of it."""

from __future__ import annotations

import os
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

import psutil
import pytest

from mien.cluster.engine import Engine, ProcessBackend
from mien.cluster.engine.backends.fork_server import BURY, FORK, NUMBER
from mien.cluster.engine.backends.interface import Fault, Handle, What
from mien.cluster.engine.backends.serving import NAME
from mien.ingest.errors import UnexpectedError
from mien.pipelines.stage import StageContext
from tests.cluster.engine.stages import Obey, Parcel, Recorder, Unpicklable, parcels, pool

SPEC = pool(Obey("a"), deadline=120)
SOON_SECONDS = 120.0


@pytest.fixture
def backend() -> Iterator[ProcessBackend]:
    made = ProcessBackend([SPEC.stage], cpus=4)
    made.open()
    yield made
    made.close()
    assert not nurseries()


def children(matches: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # those of a Ray that other tests use come and go
            if matches(child):
                found.append(child)
    return found


def nurseries() -> list[psutil.Process]:
    return children(lambda child: any("fork_server.py" in word for word in child.cmdline()))


def workers() -> list[int]:
    return [child.pid for child in children(lambda child: child.name() == NAME)]


def hired(backend: ProcessBackend, *, last: bool = False) -> tuple[Handle, int]:
    """A worker that is ready, and its process."""
    handle = backend.start(SPEC, backend.pack(SPEC.stage, StageContext()), cpus=1.0, threads=1, last=last)
    assert handle.submit("hello")[1].result(SOON_SECONDS)[0] == "ok"
    assert handle.submit("setup", 500)[1].result(SOON_SECONDS)[4] is None
    return handle, workers()[0]


def fault(backend: ProcessBackend, future: Future[Any]) -> Fault:
    error = future.exception(SOON_SECONDS)
    assert error is not None
    return backend.fault("a", error)


def test_a_payload_goes_from_worker_to_worker_and_only_its_bytes_through_the_driver(
    backend: ProcessBackend,
) -> None:
    first, _ = hired(backend)
    payload, reply = first.submit("call", Parcel(key="p", body=bytes(3_000_000)), None)
    assert reply.result(SOON_SECONDS)[3][0][:3] == ["p", 1.0, 3_000_100]
    assert reply.result()[3][0][3] is None
    second, _ = hired(backend, last=True)
    _, reply = second.submit("call", payload, None)
    (output,) = reply.result(SOON_SECONDS)[3]
    assert (output[3].trail, len(output[3].body)) == (("a", "a"), 3_000_000)


@pytest.mark.parametrize(
    ("order", "text"),
    [("kill", "killed by SIGKILL"), ("die", "it ended with exit code 9"), ("orphan", "killed by SIGKILL")],
)
def test_a_death_says_how(backend: ProcessBackend, order: str, text: str) -> None:
    handle, _ = hired(backend)
    _, reply = handle.submit("call", Parcel(key="p", orders={"a": order}), None)
    _, behind = handle.submit("call", Parcel(key="q"), None)
    died = fault(backend, reply)
    assert (died.what, died.info.error_class) == (What.DIED, "WorkerDiedError")
    assert died.info.text == f"the worker of stage a died: {text}"
    assert fault(backend, behind).what is What.DIED


def test_a_killed_worker_answers_nothing_any_more_and_is_nobody_s_zombie(backend: ProcessBackend) -> None:
    handle, pid = hired(backend)
    _, running = handle.submit("call", Parcel(key="p", orders={"a": "hang"}), None)
    _, waiting = handle.submit("call", Parcel(key="q"), None)
    handle.kill()
    handle.kill()
    assert fault(backend, running).what is What.DIED
    assert fault(backend, waiting).what is What.DIED
    other, _ = hired(backend)  # the fork_server is asked one thing after the other
    other.kill()
    assert not psutil.pid_exists(pid)


def test_one_that_is_killed_before_it_is_born_is_not_born(backend: ProcessBackend) -> None:
    handle = backend.start(SPEC, backend.pack(SPEC.stage, StageContext()), cpus=1.0, threads=1, last=False)
    handle.kill()
    survivor, pid = hired(backend)
    assert workers() == [pid]
    survivor.kill()


def test_what_cannot_be_packed_is_the_item_s_fault_and_the_worker_lives(backend: ProcessBackend) -> None:
    handle, _ = hired(backend)
    _, reply = handle.submit("call", Unpicklable(), None)
    assert fault(backend, reply).what is What.RAISED
    _, reply = handle.submit("call", Parcel(key="p", orders={"a": "unpicklable"}), None)
    assert reply.result(SOON_SECONDS)[4][0] == "UnexpectedError"
    assert handle.submit("call", Parcel(key="q"), None)[1].result(SOON_SECONDS)[4] is None


def test_workers_live_in_groups_of_their_own_and_out_of_reach_of_the_terminal(
    backend: ProcessBackend,
) -> None:
    pids = [hired(backend)[1]]
    assert [os.getpgid(pid) for pid in pids] == pids
    assert os.getsid(pids[0]) != os.getsid(0)


def test_what_a_worker_prints_is_no_part_of_the_command_s_output(
    backend: ProcessBackend, capfd: pytest.CaptureFixture[str]
) -> None:
    handle, _ = hired(backend)
    _, reply = handle.submit("call", Parcel(key="p", orders={"a": "chat"}), None)
    assert reply.result(SOON_SECONDS)[4] is None
    assert capfd.readouterr() == ("", "")


def test_what_ends_a_worker_outside_of_its_calls_is_not_taken_for_a_good_end(
    backend: ProcessBackend,
) -> None:
    handle: Any = backend.start(
        SPEC, backend.pack(SPEC.stage, StageContext()), cpus=1.0, threads=1, last=False
    )
    handle._actor = ("too", "few")
    assert fault(backend, handle.submit("hello")[1]).info.text.endswith("it ended with exit code 1")


def test_a_fork_that_fails_is_one_worker_s_end(
    backend: ProcessBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    fork_server = backend._fork_server
    with monkeypatch.context() as patch:
        patch.setattr(
            fork_server, "fork", lambda end: fork_server._ask(FORK, [])
        )  # its end did not come through
        handle = backend.start(
            SPEC, backend.pack(SPEC.stage, StageContext()), cpus=1.0, threads=1, last=False
        )
        died = fault(backend, handle.submit("hello")[1])
    assert died.what is What.DIED and "too many processes or files" in died.info.text
    hired(backend)


def test_a_driver_that_goes_between_question_and_answer_hears_no_complaint() -> None:
    made = ProcessBackend([SPEC.stage], cpus=4)
    made.open()
    _, pid = hired(made)
    socket.send_fds(made._fork_server._control, [BURY + NUMBER.pack(pid)], [])
    log = made._fork_server._log
    with log.open("rb") as said:
        made.close()
        assert said.read() == b""


def test_modules_that_cannot_be_loaded_are_named() -> None:
    class Strange(Obey):
        imports = ("no.such.module",)

    observer = Recorder(parcels(1))
    with pytest.raises(UnexpectedError, match=r"has died: ModuleNotFoundError: No module named 'no'"):
        Engine([SPEC], observer, backend=ProcessBackend([Strange("a")], cpus=4)).run()


def test_the_death_of_the_fork_server_ends_the_run_in_one_line() -> None:
    observer = Recorder(parcels(500, a=dict.fromkeys(range(500), "sleep 0.05")))
    engine = Engine([SPEC], observer, backend=ProcessBackend([SPEC.stage], cpus=4))
    killed: list[int] = []

    def kill(_: object) -> None:
        for process in nurseries():
            if process.name() != NAME and not killed:
                killed.append(process.pid)
                os.kill(process.pid, signal.SIGKILL)

    observer.on_tick = kill
    with pytest.raises(UnexpectedError, match="forked from has died: killed") as caught:
        engine.run()
    assert killed
    assert "\n" not in str(caught.value)
    assert not nurseries()
