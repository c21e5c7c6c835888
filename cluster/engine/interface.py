"""What the engine is told, and what it tells: pools, errors, snapshots, the observer."""

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
    """Asked of Ray for each worker; fractions are allowed."""
    gpus: float = 0
    memory_mb: int = 2048
    """Beyond what a worker holds after `setup()`; not enforced where gpus > 0."""
    deadline: DeadlineRule = DeadlineRule()  # noqa: RUF009 (frozen)
    """Of one call. For a fan-out: of each yield, by the seconds of the *input*. For a gathering stage the
    base must cover the closing of a shard."""
    setup_deadline_seconds: float = 300
    queue_items: int = 8
    """Cap of the queue in front of this stage, results still on their way included (never less than
    what the workers before it have in flight, which would idle them)."""
    queue_bytes: int = 256 * MIB
    in_flight: int = 2
    """Calls per worker: one that runs, the others waiting beside it so that it never idles."""
    flush_seconds: float = 600
    """A gathering worker is flushed when its oldest unanswered item is this old,"""
    retain_bytes: int = 1024 * MIB
    """or when its unanswered items hold more than this."""

    @property
    def name(self) -> str:
        return self.stage.name

    @property
    def fan_out(self) -> bool:
        return self.stage.fans_out

    @property
    def report(self) -> bool:
        """Hand what this stage yields to `Observer.reported` as well."""
        return self.stage.reports_outputs

    @property
    def gathers(self) -> bool:
        return isinstance(self.stage, AggregatingStage)


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorInfo:
    """Why an item was given up."""

    error_class: str
    text: str
    """One line."""
    policy: Policy
    attempts: int = 1
    traceback_tail: str = ""
    yielded: int = 0
    """Items that a failed fan-out had yielded already; they are under way."""
    circuit: bool = False
    """It is the egress identity that is refused, whatever the item."""
    retry_after_seconds: float | None = None
    """As whoever was asked wishes."""
    usage_requests: int = 0
    usage_bytes: int = 0
    """Spent on the network before it came to this, as far as that is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolSnapshot:
    name: str
    queued: int
    queued_bytes: int
    """Of the queue and of results promised to it."""
    peak_queued: int
    peak_queued_bytes: int
    """The most that the queue ever held."""
    workers: int
    """That there are, a spare (see relief.py) included."""
    starting: int
    busy: int
    held: int
    """Items that a gathering stage has taken and not yet answered for."""
    done: int
    failed: int
    retried: int
    done_seconds: float
    """Media seconds of the calls that ended well."""
    busy_seconds: float
    """Wall seconds that workers spent inside the stage."""
    rss_bytes: int
    """Of all workers, as each told with its last reply."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    uptime_seconds: float
    pools: tuple[PoolSnapshot, ...]
    retained: int
    """Items that came out of a gathering stage and wait to be acknowledged."""
    retained_bytes: int


class Observer(Protocol):
    """What the runner implements. Called from the thread that runs the engine; what it raises ends the
    run, after a flush."""

    def next_inputs(self, limit: int) -> Sequence[Item] | None:
        """Up to `limit` inputs; [] for none just now; None for never again."""
        ...

    def finished(self, item: Any) -> None:
        """`item` left the last stage, or any stage with `final` set. What it acknowledges must be given to
        `acknowledge` or `redo` before this returns, or from `tick`."""
        ...

    def exhausted(self, key: str, count: int) -> None:
        """The fan-out of input `key` ended well after `count` items; also any other call, of a stage
        that does not gather, that yielded not exactly one."""
        ...

    def reported(self, stage: str, item: Any) -> bool | None:
        """`item` left a stage whose pool has `report` set. False: it goes no further, and is done with."""
        ...

    def failed(self, key: str, stage: str, error: ErrorInfo, item_seconds: float) -> None: ...

    def lost(self, key: str) -> None:
        """The payload of item `key` went down with its node: claim its video again."""
        ...

    def tick(self, snapshot: Snapshot) -> None:
        """About each second; may raise to end the run."""
        ...
