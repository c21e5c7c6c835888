"""The engine's interface: pools, errors, snapshots and the observer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from mien.ingest.errors import Policy
from mien.pipelines.stage import AggregatingStage, DeadlineRule, Item, Stage

MIB = 1024 * 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSpec:
    """One stage of the pipeline and its pool of workers."""

    stage: Stage
    """Picklable configuration; `setup(context)` runs in the worker."""
    workers: int
    cpus: float
    """Requested from Ray for each worker; fractions are allowed."""
    gpus: float = 0
    memory_mb: int = 2048
    """On top of what a worker holds after `setup()`; not enforced where gpus > 0."""
    deadline: DeadlineRule = DeadlineRule()  # noqa: RUF009 (frozen)
    """Of one call. For a fan-out: of each output, computed from the seconds of the *input*. For an
    aggregating stage, the base must cover the closing of a shard."""
    setup_deadline_seconds: float = 300
    queue_items: int = 8
    """Cap of the queue in front of this stage, including results that are on their way. The engine raises it
    to the number of calls in flight in the stage before, so that a full queue does not idle those workers."""
    queue_bytes: int = 256 * MIB
    in_flight: int = 2
    """Calls per worker: one runs, and the others wait in the worker so that it never idles."""
    flush_seconds: float = 600
    """An aggregating worker is flushed when its oldest held item is this old,"""
    retain_bytes: int = 1024 * MIB
    """or when its held items take more than this."""

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def fans_out(self) -> bool:
        return self.stage.fans_out

    @property
    def reports_outputs(self) -> bool:
        """`Observer.reported` sees what this stage yields."""
        return self.stage.reports_outputs

    @property
    def aggregates(self) -> bool:
        return isinstance(self.stage, AggregatingStage)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """Why an item failed."""

    error_class: str
    text: str
    """One line."""
    policy: Policy
    attempts: int = 1
    traceback_tail: str = ""
    yielded: int = 0
    """Number of items that a failed fan-out had already yielded; these items are processed."""
    circuit: bool = False
    """The platform refuses the egress identity, whatever the item is."""
    retry_after_seconds: float | None = None
    """The wait that the server asked for."""
    usage_requests: int = 0
    usage_bytes: int = 0
    """Network usage before the failure, as far as it is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    name: str
    queued: int
    queued_bytes: int
    """Includes the room reserved for results that are on their way."""
    peak_queued: int
    peak_queued_bytes: int
    """The maximum that the queue has held."""
    workers: int
    """Includes a backup worker (see stragglers.py)."""
    starting: int
    busy: int
    held: int
    """Items that an aggregating stage has taken and not yet acknowledged."""
    done: int
    failed: int
    retried: int
    done_seconds: float
    """Media seconds of the successful calls."""
    busy_seconds: float
    """Wall seconds that workers spent inside the stage."""
    rss_bytes: int
    """Sum over all workers, as of their last replies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    uptime_seconds: float
    pools: tuple[PoolSnapshot, ...]
    retained: int
    """Items that an aggregating stage has put out and the observer has not acknowledged yet."""
    retained_bytes: int


class Observer(Protocol):
    """Implemented by the runner. The engine calls it from the thread that runs `Engine.run`. An exception
    ends the run after a flush."""

    def next_inputs(self, limit: int) -> Sequence[Item] | None:
        """Up to `limit` inputs. An empty list: none at the moment. None: no more inputs."""
        ...

    def finished(self, item: Any) -> None:
        """`item` left the last stage, or has `final` set. The keys that it acknowledges must be passed to
        `acknowledge` or `redo` before this returns, or from `tick`."""
        ...

    def exhausted(self, key: str, count: int) -> None:
        """The fan-out of input `key` ended successfully after `count` items. Also called for any other call
        that did not yield exactly one item, except calls of aggregating stages."""
        ...

    def reported(self, stage: str, item: Any) -> bool | None:
        """`item` left a stage whose `reports_outputs` is set. False rejects it: no other stage gets it."""
        ...

    def failed(self, key: str, stage: str, error: ErrorInfo, item_seconds: float) -> None: ...

    def lost(self, key: str) -> None:
        """The payload of item `key` was lost with its node: its video must be claimed again."""
        ...

    def tick(self, snapshot: Snapshot) -> None:
        """Called about once per second. An exception ends the run."""
        ...
