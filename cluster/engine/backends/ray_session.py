"""A Ray that belongs to this process alone (loopback, quiet, bounded, gone at the end), or a cluster's."""

from __future__ import annotations

import logging
import os
import signal
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psutil

from mien.cluster.engine.backends.guard import MARK, Guard
from mien.ingest.errors import InfeasibleError, UnexpectedError

logger = logging.getLogger("mien.ray")

_ENVIRONMENT = {
    # A fifth of the CPU of a call, for tables and graphs that nobody looks at here.
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # the engine handles them; Ray would print them
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's only switch for the loopback address (named for where it is the default): without it Ray
    # listens, without authentication, on the machine's public address.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_VITAL = ("raylet", "gcs_server")
_LOCAL_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}


class RaySession:
    """`with RaySession(address=…)`: connects, or starts a local Ray; leaves a Ray alone that was there."""

    def __init__(
        self, *, address: str | None = None, object_store_bytes: int, num_cpus: int | None = None
    ) -> None:
        self._address = address
        self._object_store_bytes = object_store_bytes
        self._num_cpus = num_cpus
        self._owned = False
        self._guard: Guard | None = None

    def __enter__(self) -> RaySession:
        for name, value in _ENVIRONMENT.items():
            if self._address is None or name not in _LOCAL_ONLY:
                os.environ.setdefault(name, value)
        if self._address is not None:
            _somebody_listens(self._address)  # also where this process has a Ray: it may be another one
        import ray

        if ray.is_initialized():
            return self
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        with _signals_kept():
            if self._address is not None:
                ray.init(address=self._address, **quiet)
            else:
                self._start_local(quiet)
        self._owned = True
        # Ray prints what its raylet says of dead workers to stdout whatever `log_to_driver` is.
        ray._private.worker.print_to_stdstream = _to_log
        return self

    def _start_local(self, quiet: dict[str, Any]) -> None:
        import ray

        self._guard = Guard()
        os.environ[MARK] = self._guard.folder
        try:
            ray.init(
                num_cpus=self._num_cpus or len(os.sched_getaffinity(0)),
                object_store_memory=min(self._object_store_bytes, psutil.virtual_memory().total * 3 // 10),
                include_dashboard=False,
                _node_ip_address="127.0.0.1",
                _temp_dir=self._guard.folder,
                **quiet,
            )
        except BaseException:
            self._close_guard()
            raise
        finally:
            del os.environ[MARK]

    def check_alive(self) -> None:
        """Raises UnexpectedError where the Ray that was started here has died. Left to itself, Ray ends this
        process without a word some 15 seconds later."""
        if self._guard is None:
            return
        import ray

        node: Any = ray._private.worker._global_node
        for name in _VITAL:
            started = node.all_processes.get(name, ()) if node is not None else ()
            if any(info.process.poll() is not None for info in started):
                raise UnexpectedError(
                    f"Ray's {name} has died under this run, killed or out of memory; run again to go on"
                )

    def __exit__(self, *_: object) -> None:
        if not self._owned:
            return
        import ray

        self._owned = False
        ray.shutdown()
        self._close_guard()

    def _close_guard(self) -> None:
        if self._guard is not None:
            self._guard.close()
            self._guard = None


def _somebody_listens(address: str) -> None:
    """Ray itself asks a silent address again for minutes, deaf to signals. Raises InfeasibleError."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # "auto", or ray://: Ray knows better
    try:
        socket.create_connection((host.rpartition("/")[2].strip("[]"), int(port)), timeout=5).close()
    except OSError as error:
        raise InfeasibleError(
            f"no Ray cluster answers at {address} ({error}); start one there with `ray start --head`, "
            "or leave engine.address empty"
        ) from error


def _to_log(data: dict[str, Any], ignore_prefix: bool = False) -> None:
    logger.debug("%s: %s", data.get("pid"), " ".join(map(str, data.get("lines", ()))))


@contextmanager
def _signals_kept() -> Iterator[None]:
    """`ray.init` takes SIGTERM over, to end the process by it; the runner's own handler stays.

    Below Python it does so once more, while it connects: in those 0.2 s a signal has a trace written to
    stderr, before it is heard as ever.
    """
    import ray

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    set_handler = ray._private.utils.set_sigterm_handler
    ray._private.utils.set_sigterm_handler = lambda handler: None
    try:
        yield
    finally:
        ray._private.utils.set_sigterm_handler = set_handler
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)
