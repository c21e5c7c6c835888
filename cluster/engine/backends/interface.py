"""What the engine wants of whoever runs its workers."""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import dataclass
from enum import Enum, auto
from typing import Any, Protocol

from mien.cluster.engine.actor import Reply
from mien.cluster.engine.feasibility import Node
from mien.cluster.engine.interface import ErrorInfo, PoolSpec
from mien.pipelines.stage import Stage, StageContext


class What(Enum):
    DIED = auto()
    """The worker is gone, or not to be trusted any more."""
    RAISED = auto()
    """Its reply could not be sent, or what it was asked could not be read: it lives."""
    INPUT_LOST = auto()
    """What it was to work on went down with its node."""
    UNPLACEABLE = auto()
    """No worker of this stage will ever get a place: the run cannot go on."""


@dataclass(frozen=True, slots=True)
class Fault:
    what: What
    info: ErrorInfo


class Handle(Protocol):
    """One worker: an `Actor` in a process of its own, whose calls run one after the other, in their order."""

    def submit(self, method: str, *arguments: Any) -> tuple[Any, Future[Reply]]:
        """Calls `method` of the actor: a reference to its payload, which may be an argument of another
        worker's call once the reply is there, and the future of the reply. Never waits."""
        ...

    def kill(self) -> None:
        """Ends the worker and the processes that it started."""
        ...


class Backend(Protocol):
    def open(self) -> None: ...

    def nodes(self) -> list[Node]:
        """What there is to place workers on."""
        ...

    def pack(self, stage: Stage, context: StageContext) -> bytes:
        """A pickle of both, for `start`."""
        ...

    def start(self, spec: PoolSpec, stage: bytes, *, cpus: float, threads: int, last: bool) -> Handle:
        """A new worker, which asks for `cpus` and may use `threads`. It need not run yet when this returns:
        its first call, `hello`, tells."""
        ...

    def fault(self, stage: str, error: BaseException) -> Fault:
        """What it means that the future of a reply holds `error`."""
        ...

    def check_alive(self) -> None:
        """Raises UnexpectedError where what all workers hang on has died."""
        ...

    def close(self) -> None: ...
