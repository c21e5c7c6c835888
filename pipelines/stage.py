"""What a stage is. It knows nothing of Ray, of queues or of retries.

A stage is a plain class whose configuration is its own typed fields:

    name        of the pool, in metrics and in errors
    resources   what one worker of it needs
    setup()     loads weights and opens sessions, once per worker, and proves the provider
    imports     (optional) names of modules that setup() would load: where workers are forked, they are
                loaded once for all
    environment (optional) variables that a worker's process must find when it begins, since what they are
                for reads them before any of our code runs; heeded where a worker is a process of its own
    __call__    takes one item, yields items for the next stage: none, one or many

A stage that gathers many items into one (the shard writer) also has `flush()`, and what it yields names
the items that it answers for in `acknowledges`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable


class Item(Protocol):
    """What the engine needs to know of anything that travels."""

    @property
    def key(self) -> str: ...

    @property
    def seconds(self) -> float:
        """Length in media seconds; deadlines scale with it."""
        ...

    @property
    def nbytes(self) -> int:
        """Size in memory; queues are capped by it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one worker of a stage needs."""

    cpus: float = 1.0
    gpus: float = 0.0
    memory_mb: int = 2048
    """Beyond what the process holds after `setup()`; more than that ends the item as OutOfMemoryError."""


class Stage(Protocol):
    name: str
    resources: Resources

    def setup(self) -> None: ...

    def __call__(self, item: Any, /) -> Iterable[Any]: ...


@runtime_checkable
class AggregatingStage(Protocol):
    """A stage that answers for items later, all at once."""

    def flush(self) -> Iterable[Any]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRule:
    """Seconds that a call may take: `base` plus `per_second` for each media second."""

    base: float = 60.0
    per_second: float = 10.0

    def seconds(self, item_seconds: float) -> float:
        return self.base + self.per_second * item_seconds
