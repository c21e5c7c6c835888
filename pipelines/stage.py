"""The contract of a stage: one step of the pipeline. A stage does not know Ray, queues or retries.

A stage is a subclass of `Stage` whose configuration is its own typed fields. What a stage *is* (whether it
fans out, its deadline, its share of a CPU, the weights that it opens) are class attributes and methods with
defaults. Values that exist only during a run reach it through `setup(context)`.
"""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal, Protocol

from annotated_types import Ge, Gt, Le

from mien.pipelines.local_media import InPlaceMedia, LocalMedia

if TYPE_CHECKING:
    from mien.pipelines.annotators.annotator import Annotator

# Ranges for the numeric fields of stages. The configuration checks them; constructors do not.
AtLeastOne = Annotated[int, Ge(1)]
Positive = Annotated[float, Gt(0)]
NotNegative = Annotated[float, Ge(0)]
Share = Annotated[float, Ge(0), Le(1)]


class Item(Protocol):
    """The properties of an item that the engine reads."""

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
    """On top of what the process holds after `setup()`. An item that needs more fails with
    OutOfMemoryError."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DeadlineRule:
    """Seconds that a call may take: `base` plus `per_second` for each media second."""

    base: float = 60.0
    per_second: float = 10.0

    def seconds(self, item_seconds: float) -> float:
        return self.base + self.per_second * item_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipSettings:
    """What a clip must have, and how long it may be. Several stages depend on these settings."""

    require: tuple[Literal["speech", "face"], ...] = ("speech", "face")
    min_seconds: Positive = 1.0
    max_seconds: Positive = 15.0

    def __post_init__(self) -> None:
        if not self.require:
            raise ValueError('require is empty; set one or both of "speech" and "face"')
        if self.min_seconds > self.max_seconds:
            raise ValueError(
                f"min_seconds ({self.min_seconds}) is more than max_seconds ({self.max_seconds}); lower it"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class StageContext:
    """The values of one run that its stages share. `setup` receives them in each worker."""

    run_id: str = ""
    fingerprint: str = ""
    """Hash of everything that the samples depend on; each sample stores it."""
    spool: str = ""
    """A local folder for shards that are being written."""
    shards_uri: str = ""
    """Where shards are published: a folder or an object store URI."""
    local_media: LocalMedia = field(default_factory=InPlaceMedia)
    """Provides a video's file on the node of the worker."""
    clip: ClipSettings = field(default_factory=ClipSettings)
    max_pause_seconds: float = 1.0
    """A longer pause ends a clip (`align.max_pause_seconds`)."""
    annotators: tuple[Annotator, ...] = ()
    """The enabled annotators, in the order of the registry. They are not set up yet: each `Annotate` stage
    sets up the annotators that it runs."""


class Stage(ABC):
    """Base class of all stages. A subclass sets `name` and overrides what differs from the defaults."""

    name: str
    """The name of its pool in metrics and errors."""
    resources: Resources = Resources()

    cpu_share: float | None = None
    """The share of a CPU that one worker keeps busy. None: a heavy stage, whose workers divide the CPUs that
    the light stages leave."""
    cpus_per_worker: int = 16
    """A light stage gets one worker per this many CPUs."""
    deadline: DeadlineRule | None = None
    """Limit for one call, or for each yield if the stage fans out. None: the engine's settings decide."""
    queue_items: int | None = None
    """Cap of the queue in front of the stage. None: the engine's default."""

    takes_videos: bool = False
    """Its items are whole videos, so its failures are failures of the video, not of a segment."""
    fans_out: bool = False
    """One item becomes many. An output is pulled only while the next stage's queue has room."""
    reports_outputs: bool = False
    """The observer sees each output before the next stage does, and may reject it."""
    waits_for_network: bool = False
    """Its workers mostly wait for the network, so a run may start more of them than there are CPUs."""

    imports: tuple[str, ...] = ()
    """Modules that `setup()` loads. Where workers are forked, they are loaded once for all workers."""
    environment: Mapping[str, str] = {}
    """Variables that must be set when a worker's process starts, because libraries read them before any of
    our code runs. They apply only where a worker is a process of its own."""

    affects_samples: bool = True
    """Whether its configuration changes samples and is therefore part of the fingerprint."""
    clip_settings: tuple[str, ...] = ()
    """The fields of `ClipSettings` that its output depends on."""
    _NOT_IN_FINGERPRINT = frozenset({"threads"})

    @property
    def uses_gpu(self) -> bool:
        return getattr(self, "device", "cpu") == "cuda"

    def weights(self) -> tuple[str, ...]:
        """Names of the weights that `setup` opens."""
        return ()

    def fingerprint_material(self, clip: ClipSettings) -> dict[str, Any]:
        """The settings that this stage's output depends on, by name."""
        fields: dict[str, dataclasses.Field[Any]] = getattr(self, "__dataclass_fields__", {})
        own = {name: getattr(self, name) for name in fields if name not in self._NOT_IN_FINGERPRINT}
        return own | {name: getattr(clip, name) for name in self.clip_settings}

    def setup(self, context: StageContext) -> None:  # noqa: B027 (optional)
        """Loads weights, opens sessions and verifies their provider. Once per worker, before any call."""

    @abstractmethod
    def __call__(self, item: Any, /) -> Iterable[Any]:
        """Takes one item and yields items for the next stage: none, one or many."""

    def close(self) -> None:  # noqa: B027 (optional)
        """Releases what `setup` opened. It is called when a worker ends normally, not when it is killed."""


class AggregatingStage(Stage):
    """A stage that combines many items into one. `acknowledges` of an output lists the keys of the items that
    it contains."""

    @abstractmethod
    def flush(self) -> Iterable[Any]:
        """Yields outputs for the items that the stage still holds."""


class InOneWorker(Stage):
    """Runs several stages in the same worker, so that no item is copied between them. To the engine it is
    the stage `main`."""

    def __init__(self, *stages: Stage, main: Stage) -> None:
        self.stages = stages
        self.name = main.name
        self.resources = dataclasses.replace(
            main.resources, memory_mb=max(stage.resources.memory_mb for stage in stages)
        )
        self.cpu_share, self.cpus_per_worker, self.deadline = (
            main.cpu_share,
            main.cpus_per_worker,
            main.deadline,
        )
        self.imports = tuple(name for stage in stages for name in stage.imports)
        self.environment = {name: value for stage in stages for name, value in stage.environment.items()}
        self._main = main

    @property
    def uses_gpu(self) -> bool:
        return any(stage.uses_gpu for stage in self.stages)

    def weights(self) -> tuple[str, ...]:
        return tuple(name for stage in self.stages for name in stage.weights())

    def fingerprint_material(self, clip: ClipSettings) -> dict[str, Any]:
        return self._main.fingerprint_material(clip)

    def setup(self, context: StageContext) -> None:
        for stage in self.stages:
            stage.setup(context)

    def __call__(self, item: Any, /) -> Iterator[Any]:
        return self._run(self.stages, item)

    def _run(self, stages: tuple[Stage, ...], item: Any) -> Iterator[Any]:
        if not stages:
            yield item
            return
        for output in stages[0](item):
            yield from self._run(stages[1:], output)

    def close(self) -> None:
        with ExitStack() as stack:  # all are closed, even if one raises
            for stage in self.stages:
                stack.callback(stage.close)
