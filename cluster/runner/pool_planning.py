"""From settings to the stages of a run, and to their pools on the CPUs and GPUs that there are."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path
from typing import Any

from mien.cluster.config import Settings
from mien.cluster.engine import PoolSpec
from mien.ingest.errors import ConfigError
from mien.pipelines.stage import DeadlineRule, Resources
from mien.pipelines.talking_face import talking_face

# A segment leaves the splitter every 75 s of media at the latest, whatever the length of the file.
SPLIT_DEADLINE = DeadlineRule(base=120.0, per_second=0.2)
# How large a file is nobody knows before it is fetched; a transfer that stalls gives itself up much sooner.
FETCH_DEADLINE = DeadlineRule(base=6 * 3600.0, per_second=0.0)
# A shard is closed, forced to the disk and uploaded within one call, over whatever uplink there is.
SHARDS_DEADLINE = DeadlineRule(base=3600.0, per_second=0.0)
OWN_DEADLINES = {"fetch": FETCH_DEADLINE, "split": SPLIT_DEADLINE, "shards": SHARDS_DEADLINE}
# The share of a CPU that a worker of a light stage keeps busy, measured over ten minutes of talk.
LIGHT_SHARE = {"fetch": 0.05, "split": 0.1, "align": 0.1, "shards": 0.05}
GPU_SHARE = 0.5
CLAIMED_AHEAD = 32
"""Videos before the first stage: a claim of half as many is one question to the catalog."""


def build_stages(settings: Settings, *, run_id: str, fingerprint: str) -> list[Any]:
    """The pipeline's stages with all that the run says to them."""
    root = Path(settings.store.root).absolute()
    return talking_face(
        require=tuple(settings.clip.require),
        fetch=settings.fetch,
        split=settings.split,
        faces=settings.faces,
        transcribe=settings.transcribe,
        align=dataclasses.replace(settings.align, fingerprint=fingerprint),
        shards=dataclasses.replace(
            settings.shards, uri=settings.store.shards_uri, spool=str(root / "spool"), run_id=run_id
        ),
    )


def build_pools(settings: Settings, stages: list[Any], *, cpus: float, downloads: int = 0) -> list[PoolSpec]:
    """A pool for each stage; at least `downloads` workers fetch, which for the most part wait.

    The heavy stages (faces, transcribe) each get enough single-threaded workers to keep all CPUs busy by
    themselves, so that none idles while one of the two waits for the other; the shares that Ray is asked
    for add up to `cpus`.

    Raises:
        ConfigError: `engine.workers` names a stage that the pipeline does not have.
    """
    names = [stage.name for stage in stages]
    for name in settings.engine.workers:
        if name not in names:
            raise ConfigError(f"engine.workers names no stage {name}; the stages are {', '.join(names)}")
    on_gpu = {stage.name for stage in stages if getattr(stage, "device", "cpu") == "cuda"}
    workers = {
        name: settings.engine.workers.get(name)
        or (_default_gpu_workers() if name in on_gpu else _default_workers(name, cpus, downloads))
        for name in names
    }
    light = sum(LIGHT_SHARE.get(name, 0.0) * workers[name] for name in names)
    heavy = sum(count for name, count in workers.items() if name not in LIGHT_SHARE)
    # Rounded down, so that the sum never exceeds what there is.
    share = int(max(0.05, (cpus - light) / max(1, heavy)) * 1000) / 1000
    rule = DeadlineRule(
        base=settings.engine.deadline_base_seconds, per_second=settings.engine.deadline_per_second
    )
    pools = []
    for stage in stages:
        resources: Resources = getattr(stage, "resources", Resources())
        pools.append(
            PoolSpec(
                stage=stage,
                workers=workers[stage.name],
                cpus=LIGHT_SHARE.get(stage.name, share),
                gpus=GPU_SHARE if stage.name in on_gpu else 0,
                memory_mb=settings.engine.memory_mb or resources.memory_mb,
                deadline=OWN_DEADLINES.get(stage.name, rule),
                fan_out=stage.name == "split",
                report=stage.name == "fetch",
                **({"queue_items": CLAIMED_AHEAD} if stage.name == "fetch" else {}),
            )
        )
    return pools


def usable_cpus(settings: Settings) -> float:
    """What the configuration grants, else what this process may run on."""
    return settings.engine.cpus or float(len(os.sched_getaffinity(0)))


def _default_gpu_workers() -> int:
    """One of each GPU stage on each GPU of this machine; a cluster's are given in `engine.workers`."""
    import ctranslate2

    return max(1, int(ctranslate2.get_cuda_device_count()))


def _default_workers(name: str, cpus: float, downloads: int) -> int:
    if name == "fetch":
        return max(1, round(cpus / 16), downloads)
    if name in LIGHT_SHARE:
        return max(1, round(cpus / 16)) if name != "shards" else max(1, round(cpus / 64))
    return max(1, round(cpus if cpus <= 4 else 0.75 * cpus))
