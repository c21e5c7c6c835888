"""The worker's side: one stage in one process. Whatever the stage does, the reply is a value.

A call returns two objects, `(payload, reply)`: in that order, because where Ray cannot store the one it fails
the ones after it. The reply is small and is all that the driver reads:

    [kind, rss_bytes, busy_seconds, outputs, error]
    kind      "ok", "end" of a stream, "void" (a pull after the end), "error"
    outputs   for each item: [key, seconds, nbytes, item or None, final, acknowledges, index]
    error     [class, text, policy, traceback tail, [circuit, retry after seconds, requests, bytes]]

Plain lists, because Ray packs those with msgpack and anything else with cloudpickle, at ten times the cost.
The payload is the item itself, or the list of items where there are several; `index` is the place in it.
Items that the driver wants anyway (`final`, or of the last stage) ride in the reply and not in the payload.
"""

from __future__ import annotations

import os
import pickle
import resource
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from mien.pipelines.stage import AggregatingStage, Stage

Reply = list[Any]
_PAGE = resource.getpagesize()
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


class Actor:
    """Its calls run one after the other, in the order of submission."""

    def __init__(self, stage: bytes, threads: int, last: bool, report: bool) -> None:
        # Before the stage is unpickled: that imports numpy, which reads these once.
        os.environ.update(dict.fromkeys(THREAD_VARIABLES, str(threads)))
        self._pickled = stage
        self._stage: Stage
        self._last = last
        self._report = report
        self._stream: tuple[int, Iterator[Any]] | None = None

    def hello(self) -> tuple[int, Reply]:
        """Returns as soon as the process runs: from here on setup's clock counts."""
        return os.getpid(), ["ok", _rss_bytes(), 0.0, [], None]

    def setup(self, memory_mb: int | None) -> tuple[None, Reply]:
        started = time.perf_counter()
        try:
            self._stage, context = pickle.loads(self._pickled)  # noqa: S301 (of our own driver)
            self._stage.setup(context)
            if memory_mb is not None:
                _limit_memory(memory_mb)
        except BaseException as error:
            return None, self.failed(error, started)
        return None, ["ok", _rss_bytes(), time.perf_counter() - started, [], None]

    def call(self, payload: Any, index: int | None) -> tuple[Any, Reply]:
        started = time.perf_counter()
        try:
            item = payload if index is None else payload[index]
            return self._ok("ok", self._stage(item), started)
        except BaseException as error:
            return None, self.failed(error, started)

    def pull(self, stream: int, payload: Any, index: int | None) -> tuple[Any, Reply]:
        """The next item of fan-out number `stream`; `payload` comes with the first pull alone."""
        started = time.perf_counter()
        try:
            if payload is not None:
                item = payload if index is None else payload[index]
                self._stream = (stream, iter(self._stage(item)))
            if self._stream is None or self._stream[0] != stream:
                return None, ["void", 0, 0.0, [], None]
            try:
                following = next(self._stream[1])
            except StopIteration:
                self._stream = None
                return self._ok("end", (), started)
            return self._ok("ok", (following,), started)
        except BaseException as error:
            self._stream = None
            return None, self.failed(error, started)

    def flush(self) -> tuple[Any, Reply]:
        started = time.perf_counter()
        try:
            assert isinstance(self._stage, AggregatingStage)  # noqa: S101
            return self._ok("ok", self._stage.flush(), started)
        except BaseException as error:
            return None, self.failed(error, started)

    def close(self) -> tuple[None, Reply]:
        """The worker ends normally: no call follows."""
        started = time.perf_counter()
        try:
            self._stage.close()
        except BaseException as error:
            return None, self.failed(error, started)
        return None, ["ok", _rss_bytes(), time.perf_counter() - started, [], None]

    def _ok(self, kind: str, items: Iterable[Any], started: float) -> tuple[Any, Reply]:
        outputs: list[list[Any]] = []
        payload: list[Any] = []
        for item in items:
            final = self._last or bool(getattr(item, "final", False))
            carried = item if final or self._report else None
            answers = list(getattr(item, "acknowledges", ()))
            index = None if final else len(payload)
            outputs.append([item.key, item.seconds, item.nbytes, carried, final, answers, index])
            if not final:
                payload.append(item)
        reply = [kind, _rss_bytes(), time.perf_counter() - started, outputs, None]
        if len(payload) != 1:
            return payload or None, reply
        for output in outputs:
            output[6] = None
        return payload[0], reply

    def failed(self, error: BaseException, started: float) -> Reply:
        """What is said of a call that raised `error`."""
        from mien.cluster.engine.errors import classify

        info = classify(error)
        network = [info.circuit, info.retry_after_seconds, info.usage_requests, info.usage_bytes]
        told = [info.error_class, info.text, str(info.policy), info.traceback_tail, network]
        return ["error", _rss_bytes(), time.perf_counter() - started, [], told]


def _rss_bytes() -> int:
    with Path("/proc/self/statm").open("rb") as file:
        return int(file.read().split()[1]) * _PAGE


def _limit_memory(memory_mb: int) -> None:
    """An eater gets its MemoryError here, at once, instead of the kernel picking a victim on the node."""
    status = Path("/proc/self/status").read_text()
    data_kb = next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmData:"))
    _, hard = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (data_kb * 1024 + memory_mb * 1024 * 1024, hard))
