"""The interface between the engine and the backend that runs its workers."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from mien.cluster.engine.feasibility import Node
from mien.cluster.engine.interface import ErrorInfo, PoolSpec
from mien.pipelines.stage import Stage, StageContext


class FaultKind(Enum):
    DIED = auto()
    """The worker is gone, or in an unknown state."""
    RAISED = auto()
    """The reply could not be sent, or the request could not be read. The worker is alive."""
    INPUT_LOST = auto()
    """The payload of the call was lost with its node."""
    UNPLACEABLE = auto()
    """No worker of this stage will ever get a place: the run cannot continue."""


@dataclass(frozen=True, slots=True)
class Fault:
    kind: FaultKind
    info: ErrorInfo


class Handle(Protocol):
    """One worker: an `Actor` in its own process. Its calls run one after the other, in order."""

    def submit(self, request: bytes, payload: Any = None) -> tuple[Any, Future[bytes]]:
        """Sends an encoded `Request`. Returns a reference to the payload of the result, and the future of the
        encoded `Reply`. Once the reply is there, the reference can be the payload of another call, also of
        another worker. Never blocks."""
        ...

    def kill(self) -> None:
        """Kills the worker and the processes that it started."""
        ...


class Backend(Protocol):
    def open(self) -> None: ...

    def nodes(self) -> list[Node]:
        """The nodes that workers can be placed on."""
        ...

    def pack(self, stage: Stage, context: StageContext) -> bytes:
        """A pickle of both, for `start`."""
        ...

    def start(self, spec: PoolSpec, stage: bytes, *, cpus: float, threads: int, last: bool) -> Handle:
        """A new worker that requests `cpus` and may use `threads`. It may not run yet when this returns; it
        answers `Hello` once it does."""
        ...

    def fault(self, stage: str, error: BaseException) -> Fault:
        """The meaning of `error`, the exception in the future of a reply."""
        ...

    def check_alive(self) -> None:
        """Raises UnexpectedError if the process that all workers depend on has died."""
        ...

    def close(self) -> None: ...
