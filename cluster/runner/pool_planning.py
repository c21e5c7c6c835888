"""From settings to the stages of a run, and to their pools on the CPUs and GPUs that there are."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from mien.cluster.config import Settings
from mien.cluster.engine import PoolSpec
from mien.ingest.errors import ConfigError
from mien.pipelines.stage import DeadlineRule, Stage, StageContext
from mien.pipelines.talking_face import talking_face

GPU_SHARE = 0.5


def build_stages(settings: Settings) -> list[Stage]:
    """The stages of the pipeline."""
    return talking_face(**settings.pipeline())


def build_context(settings: Settings, *, run_id: str, fingerprint: str) -> StageContext:
    """The values of the run that its stages share."""
    return StageContext(
        run_id=run_id,
        fingerprint=fingerprint,
        spool=str(Path(settings.store.root).absolute() / "spool"),
        shards_uri=settings.store.shards_uri,
        local_media=settings.fetch,
        clip=settings.clip,
        max_pause_seconds=settings.align.max_pause_seconds,
        annotators=settings.enabled_annotators(),
    )


def build_pools(
    settings: Settings, stages: Sequence[Stage], *, cpus: float, downloads: int = 0
) -> list[PoolSpec]:
    """A pool for each stage; stages that wait for the network get at least `downloads` workers.

    Each heavy stage gets enough single-threaded workers to keep all CPUs busy alone, so that no CPU idles
    while one stage waits for another. The CPU shares that Ray is asked for add up to `cpus`.

    Raises:
        ConfigError: `engine.workers` names a stage that the pipeline does not have.
    """
    names = [stage.name for stage in stages]
    for name in settings.engine.workers:
        if name not in names:
            raise ConfigError(f"engine.workers names no stage {name}; the stages are {', '.join(names)}")
    workers = {
        stage.name: settings.engine.workers.get(stage.name) or _default_workers(stage, cpus, downloads)
        for stage in stages
    }
    light = sum(stage.cpu_share * workers[stage.name] for stage in stages if stage.cpu_share is not None)
    heavy = sum(workers[stage.name] for stage in stages if stage.cpu_share is None)
    # Rounded down, so that the sum never exceeds the CPUs.
    share = int(max(0.05, (cpus - light) / max(1, heavy)) * 1000) / 1000
    rule = DeadlineRule(
        base=settings.engine.deadline_base_seconds, per_second=settings.engine.deadline_per_second
    )
    return [
        PoolSpec(
            stage=stage,
            workers=workers[stage.name],
            cpus=share if stage.cpu_share is None else stage.cpu_share,
            gpus=GPU_SHARE if stage.uses_gpu else 0,
            memory_mb=settings.engine.memory_mb or stage.resources.memory_mb,
            deadline=stage.deadline or rule,
            **({} if stage.queue_items is None else {"queue_items": stage.queue_items}),
        )
        for stage in stages
    ]


def usable_cpus(settings: Settings) -> float:
    """The CPUs that the configuration grants, else those that this process may use."""
    return settings.engine.cpus or float(len(os.sched_getaffinity(0)))


def _default_workers(stage: Stage, cpus: float, downloads: int) -> int:
    if stage.uses_gpu:
        return _gpu_count()
    if stage.cpu_share is None:
        return max(1, round(cpus if cpus <= 4 else 0.75 * cpus))
    return max(1, round(cpus / stage.cpus_per_worker), downloads if stage.waits_for_network else 0)


def _gpu_count() -> int:
    """One worker of each GPU stage on each GPU of this machine; `engine.workers` sets those of a cluster."""
    import ctranslate2

    return max(1, int(ctranslate2.get_cuda_device_count()))
