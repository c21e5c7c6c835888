"""SIGINT and SIGTERM: the first commits finished samples and stops the run, the second ends it at once."""

from __future__ import annotations

import signal
import threading
from types import TracebackType
from typing import Any, Protocol, Self

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


class Stoppable(Protocol):
    def stop(self) -> None: ...


class GracefulShutdown:
    """Wraps a whole run, from before its first claim to its last commit."""

    def __init__(self) -> None:
        self.signal: int | None = None
        """The first signal received."""
        self._engine: Stoppable | None = None
        self._before: dict[int, Any] = {}

    def attach(self, engine: Stoppable) -> None:
        """Stops `engine` when a signal arrives; at once, if one has arrived already."""
        self._engine = engine
        if self.signal is not None:
            engine.stop()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._handle) for number in _SIGNALS}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, _: Any) -> None:
        if self.signal is not None:
            raise KeyboardInterrupt
        self.signal = number
        if self._engine is not None:
            self._engine.stop()
