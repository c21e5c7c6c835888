"""A connection to a Ray cluster, or a local Ray that belongs to this process.

A local Ray listens only on loopback, prints nothing, has a memory limit and ends with this process.
"""

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
    # Task events and metrics take a fifth of the CPU time of a call, and we do not use them.
    "RAY_task_events_report_interval_ms": "0",
    "RAY_enable_metrics_collection": "0",
    "RAY_event_stats": "0",
    "RAY_IGNORE_UNHANDLED_ERRORS": "1",  # the engine handles errors; Ray would print them
    "RAY_USAGE_STATS_ENABLED": "0",
    # Ray's only switch for the loopback address; it is named after the systems where that is the default.
    # Without it, Ray listens on the machine's public address, without authentication.
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
}
_VITAL_PROCESSES = ("raylet", "gcs_server")
_LOCAL_ONLY = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"}


class RaySession:
    """`with RaySession(address=…)` connects, or starts a local Ray. A Ray that this process already uses is
    reused and stays connected."""

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
            _check_address(self._address)  # even if this process uses a Ray: it may be a different one
        import ray

        if ray.is_initialized():
            return self
        quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
        with _preserved_signal_handlers():
            if self._address is not None:
                ray.init(address=self._address, **quiet)
            else:
                self._start_local(quiet)
        self._owned = True
        # Ray prints messages about dead workers to stdout, whatever `log_to_driver` is.
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
        """Raises UnexpectedError if the Ray that was started here has died. Without this check, Ray would end
        this process without a message about 15 seconds later."""
        if self._guard is None:
            return
        import ray

        node: Any = ray._private.worker._global_node
        for name in _VITAL_PROCESSES:
            started = node.all_processes.get(name, ()) if node is not None else ()
            if any(info.process.poll() is not None for info in started):
                raise UnexpectedError(
                    f"Ray's {name} died during this run (killed, or out of memory); rerun to continue"
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


def _check_address(address: str) -> None:
    """Raises InfeasibleError if nothing listens at `address`. Ray itself would retry for minutes and ignore
    signals meanwhile."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit():
        return  # "auto" or ray://, which Ray resolves
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
def _preserved_signal_handlers() -> Iterator[None]:
    """Keeps the runner's handler of SIGTERM, which `ray.init` would replace by one that ends the process.

    Ray's native code installs another handler while it connects. A signal during those 0.2 s writes a stack
    trace to stderr before it is handled as usual.
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
