"""Sections `hour` and `many`: memory and disk use for one long film and for thousands of short files."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from mien.cluster.benchmarks import timeline
from mien.cluster.benchmarks.films import short_clips, talk_film
from mien.cluster.benchmarks.processes import measure_module, memory_between
from mien.models.benchmarks.report import about, mb


def hour(folder: Path, *, seconds: float, media: Path | None) -> dict[str, Any]:
    film = talk_film(folder, seconds, media=media)
    print(about(f"hour: {seconds:.0f} s, {film.made_of}"), flush=True)
    return _run(folder, "hour", (str(film.path),), per="faces")


def many(folder: Path, *, count: int, media: Path | None) -> dict[str, Any]:
    files, made_of = short_clips(folder, count, media=media)
    print(about(f"many: {made_of}"), flush=True)
    flags = ("--set", "fetch.duplicates=keep")  # the files have only two different contents
    return {"count": count, **_run(folder, "many", (*flags, str(files)), per="fetch")}


def _run(folder: Path, name: str, arguments: tuple[str, ...], *, per: str) -> dict[str, Any]:
    store, lines = folder / f"{name}-store", folder / f"{name}.jsonl"
    usage, result = measure_module("mien.cluster.benchmarks.recorded_run", str(store), str(lines), *arguments)
    found = timeline.memory(timeline.read(lines), per)
    return {
        "wall_seconds": usage.wall_seconds,
        "cpu_seconds": usage.cpu_seconds,
        "driver_cpu_seconds": usage.by_role["driver"],
        "adding_cpu_seconds": result["adding_cpu_seconds"],
        "peak_bytes": usage.peak_bytes,
        "half_way_bytes": memory_between(usage, 0.45, 0.55),
        "near_end_bytes": memory_between(usage, 0.85, 0.95),
        "peak_shared_bytes": usage.peak_shared_bytes,
        "shards_bytes": result["bytes"],
        "videos": result["videos"],
        "segments": result["segments"],
        "fates": result["seconds_by_fate"],
        "memory": dataclasses.asdict(found),
    }


def show(found: dict[str, Any], per: str) -> None:
    memory, cpu, driver = found["memory"], found["cpu_seconds"], found["driver_cpu_seconds"]
    lines = [
        f"{found['wall_seconds']:.0f} s, {cpu:.0f} CPU s; videos {_counts(found['videos'])}; "
        f"segments {_counts(found['segments'])}"
    ]
    if "count" in found:
        each = 1000 / found["count"]
        lines.append(
            f"CPU per video {cpu * each:.1f} ms, of which driver and catalog {driver * each:.1f}; "
            f"adding it {found['adding_cpu_seconds'] * each:.2f} ms"
        )
    first, last, slope = (
        memory[f"driver_{name}"] for name in ("first_bytes", "last_bytes", "bytes_per_item")
    )
    lines += [
        f"driver {mb(first)} halfway, {mb(last)} at the end: {slope / 1e3:+.1f} kB per {per}",
        f"whole tree {mb(found['half_way_bytes'])} halfway, {mb(found['near_end_bytes'])} near the end, "
        f"{mb(found['peak_bytes'])} at the peak, of which shared "
        f"{mb(found['peak_shared_bytes'])} (object store: 1,074 MB by default)",
        f"queues at most {mb(memory['queued_peak_bytes'])} (268 MB each), "
        f"spool {mb(memory['spool_peak_bytes'])} (shards.max_bytes 268 MB plus one segment),",
        f"retained until commit {mb(memory['retained_peak_bytes'])}; shards {mb(found['shards_bytes'])}",
    ]
    print("\n".join("  " + line for line in lines), end="\n\n")


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.items() if count)
