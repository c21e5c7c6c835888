"""The worker's side: one stage in one process. Whatever the stage does, the reply is a value."""

from __future__ import annotations

import os
import pickle
import resource
import time
from collections.abc import Callable, Iterable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mien.cluster import logs
from mien.cluster.engine.messages import (
    Close,
    Envelope,
    Flush,
    Hello,
    Output,
    Pull,
    Reply,
    ReplyStatus,
    Run,
    Setup,
    decode_envelope,
    decode_request,
    decode_start,
    encode,
)
from mien.pipelines.stage import AggregatingStage, Stage

_PAGE_BYTES = resource.getpagesize()
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")

Answer = tuple[Any, Reply]
"""The payload and the reply."""


class Actor:
    """Answers its requests one after the other, in the order of submission."""

    def __init__(
        self,
        stage: bytes,
        threads: int,
        last: bool,
        reports: bool,
        dumps: Callable[[Any], bytes] = pickle.dumps,
    ) -> None:
        # This must happen before the stage is unpickled: unpickling imports numpy, which reads these once.
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        self._pickled = stage
        self._stage: Stage
        self._last = last
        self._reports = reports
        self._dumps = dumps
        self._stream: tuple[int, Iterator[Any]] | None = None

    def answer(self, request: bytes, payload: Any = None) -> tuple[Any, bytes]:
        """The payload and the encoded reply."""
        started = time.perf_counter()
        try:
            result, reply = self._run(request, payload, started)
            return result, encode(reply)
        except BaseException as error:
            return None, encode(_failed_reply(error, started))

    def _run(self, request: bytes, payload: Any, started: float) -> Answer:
        match decode_request(request):
            case Run(index=index):
                return self._collect(self._stage(_item(payload, index)), started)
            case Pull(stream=stream, starts=starts, index=index):
                return self._pull(stream, starts, payload, index, started)
            case Flush():
                assert isinstance(self._stage, AggregatingStage)  # noqa: S101
                return self._collect(self._stage.flush(), started)
            case Hello():
                return os.getpid(), _empty_reply(started)
            case Setup(memory_mb=memory_mb):
                if logs.FORMAT_VARIABLE in os.environ or logs.LEVEL_VARIABLE in os.environ:
                    logs.configure_from_environment()
                self._stage, context = pickle.loads(self._pickled)  # noqa: S301 (from our own driver)
                self._stage.setup(context)
                if memory_mb is not None:
                    _limit_memory(memory_mb)
            case Close():
                self._stage.close()
        return None, _empty_reply(started)

    def _pull(self, stream: int, starts: bool, payload: Any, index: int | None, started: float) -> Answer:
        try:
            if starts:
                self._stream = (stream, iter(self._stage(_item(payload, index))))
            if self._stream is None or self._stream[0] != stream:
                return None, Reply(ReplyStatus.NO_STREAM)
            try:
                output = next(self._stream[1])
            except StopIteration:
                self._stream = None
                return self._collect((), started, ReplyStatus.STREAM_ENDED)
            return self._collect((output,), started)
        except BaseException:
            self._stream = None
            raise

    def _collect(self, items: Iterable[Any], started: float, status: ReplyStatus = ReplyStatus.OK) -> Answer:
        found = [(item, self._last or bool(getattr(item, "final", False))) for item in items]
        payload = [item for item, final in found if not final]
        index = 0
        outputs: list[Output] = []
        for item, final in found:
            outputs.append(
                Output(
                    key=item.key,
                    seconds=float(item.seconds),
                    nbytes=int(item.nbytes),
                    acknowledges=tuple(getattr(item, "acknowledges", ())),
                    final=final,
                    index=None if final or len(payload) == 1 else index,
                    item=self._dumps(item) if final or self._reports else None,
                )
            )
            index += not final
        reply = Reply(status, _rss_bytes(), time.perf_counter() - started, tuple(outputs))
        if len(payload) == 1:
            return payload[0], reply
        return payload or None, reply


def serve(connection: Connection) -> None:
    """Answers the requests of a pipe until the driver closes its end."""
    try:
        start = decode_start(connection.recv_bytes())
        actor = Actor(start.stage, start.threads, start.last, start.reports)
        while True:
            connection.send_bytes(_answer_envelope(actor, connection.recv_bytes()))
    except (EOFError, ConnectionError):
        return


def _answer_envelope(actor: Actor, data: bytes) -> bytes:
    """The answer is packed completely before the first byte is sent. An error while packing it therefore
    becomes an ordinary error reply."""
    started = time.perf_counter()
    try:
        envelope = decode_envelope(data)
        item = pickle.loads(envelope.payload) if envelope.payload else None  # noqa: S301 (from our own driver)
        payload, reply = actor.answer(envelope.message, item)
        packed = b"" if payload is None else pickle.dumps(payload, pickle.HIGHEST_PROTOCOL)
        return encode(Envelope(reply, packed))
    except BaseException as error:
        return encode(Envelope(encode(_failed_reply(error, started))))


def _failed_reply(error: BaseException, started: float) -> Reply:
    """The reply to a request that raised `error`."""
    from mien.cluster.engine.errors import classify

    busy_seconds = time.perf_counter() - started
    return Reply(ReplyStatus.FAILED, _rss_bytes(), busy_seconds, error=classify(error))


def _empty_reply(started: float) -> Reply:
    return Reply(ReplyStatus.OK, _rss_bytes(), time.perf_counter() - started)


def _item(payload: Any, index: int | None) -> Any:
    return payload if index is None else payload[index]


def _rss_bytes() -> int:
    with Path("/proc/self/statm").open("rb") as file:
        return int(file.read().split()[1]) * _PAGE_BYTES


def _limit_memory(memory_mb: int) -> None:
    """Makes an allocation beyond the limit fail with MemoryError at once. Without a limit, the kernel would
    choose a process of the node to kill."""
    status = Path("/proc/self/status").read_text()
    data_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data_kb * 1024 + memory_mb * 1024 * 1024, hard))
