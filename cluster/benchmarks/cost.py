"""Sections `cost` and `steady`: the bare kernels and the whole pipeline, measured on the same film."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from mien.cluster.benchmarks import timeline
from mien.cluster.benchmarks.films import talk_film
from mien.cluster.benchmarks.processes import measure_module, run_parallel
from mien.models.benchmarks.report import Table, about
from mien.pipelines.transcribe.stage import Transcribe

TARGET_RATIO = 1.15
# The target applies to these six. The others are work that any pipeline does, shown for comparison.
KERNELS = ("decode", "scrfd", "vad", "whisper", "jpeg", "flac")
OTHERS = ("sound", "arcface", "sha256")
COUNTED = ("detections", "crops", "embeddings", "windows", "clips")
NAMES = {
    "decode": "decode pictures (PyAV, 1 thread)",
    "scrfd": "SCRFD (insightface's detect)",
    "vad": "voice activity (Silero)",
    "whisper": "Whisper base int8 (faster-whisper, batched)",
    "jpeg": "JPEG of 128×128 crops (simplejpeg)",
    "flac": "FLAC (soundfile)",
    "sound": "decode and resample the sound (PyAV)",
    "arcface": "ArcFace embeddings (insightface)",
    "sha256": "sha256 of the file",
    "whisper, language given": "for comparison: Whisper, language given",
    "ffmpeg -f null": "for comparison: decode pictures (ffmpeg, 1 thread)",
}


def measure(folder: Path, *, seconds: float, media: Path | None) -> dict[str, Any]:
    film = talk_film(folder, seconds, media=media)
    print(about(f"cost: {seconds:.0f} s of {film.made_of}"), flush=True)
    alone = _measure_kernels(film.path, {})
    with_worker_environment = _measure_kernels(film.path, Transcribe.environment)
    command = "mien.cluster.benchmarks.recorded_run"
    start, _ = measure_module(command, str(folder / "s0"), str(folder / "t0"), str(film.path), "--only-start")
    whole, result = measure_module(command, str(folder / "s1"), str(folder / "t1"), str(film.path))
    steady = timeline.steady(timeline.read(folder / "t1"), whole.timeline, os.cpu_count() or 1)
    return {
        "film_seconds": seconds,
        "alone": alone,
        "kernels_with_worker_environment": with_worker_environment["kernels"],
        "start_cpu_seconds": start.cpu_seconds,
        "whole_cpu_seconds": whole.cpu_seconds,
        "cpu_seconds_by_role": {
            role: seconds - start.by_role.get(role, 0.0) for role, seconds in whole.by_role.items()
        },
        "wall_seconds": whole.wall_seconds,
        "start_wall_seconds": start.wall_seconds,
        "peak_bytes": whole.peak_bytes,
        "fates": result["seconds_by_fate"],
        "steady": None if steady is None else {
            "seconds": steady.seconds,
            "busy_share": steady.busy_share,
            "other_share": steady.other_share,
            "workers_busy": steady.workers_busy,
        },
        "load": os.getloadavg()[0],
        "at": time.time(),
    }  # fmt: skip


def _measure_kernels(film: Path, environment: dict[str, str]) -> dict[str, Any]:
    """The mean of one process per core, all at the same time.

    Busy neighbour cores make a core slower, because they share caches, memory and heat. In a pipeline run all
    cores are busy.
    """
    command = [sys.executable, "-m", "mien.cluster.benchmarks.kernels", str(film)]
    mean: dict[str, Any] = _mean(run_parallel([command] * (os.cpu_count() or 1), environment))
    return mean


def _mean(several: list[Any]) -> Any:
    if isinstance(several[0], dict):
        return {name: _mean([one[name] for one in several]) for name in several[0]}
    mean = sum(several) / len(several)
    return round(mean) if isinstance(several[0], int) else mean


def show(found: dict[str, Any]) -> None:
    seconds, alone = found["film_seconds"], found["alone"]
    counts, taken = alone["counts"], alone["kernels"]
    speech, face = (counts[name] / seconds for name in ("speech_seconds", "face_seconds"))
    decoded = counts["decoded_seconds"]
    print(f"  speech in {speech:.0%} of the film, a face in {face:.0%}; pictures of {decoded:.0f} s decoded;")
    print("  " + ", ".join(f"{counts[name]} {name}" for name in COUNTED))
    table = Table("bare kernels, one process per core", "CPU s", "per video-s")
    for name, title in NAMES.items():
        table.row(title, f"{taken[name]:.2f}", f"{taken[name] / seconds:.5f}")
    table.show()
    six, nine = (sum(taken[name] for name in names) for names in (KERNELS, KERNELS + OTHERS))
    table = Table("stages, in one process without Ray", "CPU s", "per video-s")
    for name, spent in alone["stages"].items():
        table.row(name, f"{spent:.2f}", f"{spent / seconds:.5f}")
    table.show()
    local = alone["local"] - sum(alone["setups"].values())
    whole = found["whole_cpu_seconds"] - found["start_cpu_seconds"]
    table = Table("total", "CPU s", "per video-s", "÷ six kernels", "÷ all kernels")
    for name, spent in (
        ("the six kernels (decode, SCRFD, VAD, Whisper, JPEG, FLAC)", six),
        ("all kernels (with sound, ArcFace, sha256)", nine),
        ("mien run --local, without loading the networks", local),
        ("mien run on Ray, without start and stop", whole),
        ("mien run on Ray, complete", found["whole_cpu_seconds"]),
    ):
        table.row(name, f"{spent:.2f}", f"{spent / seconds:.5f}", f"{spent / six:.3f}", f"{spent / nine:.3f}")
    table.show()
    roles = ", ".join(f"{role} {spent:.2f}" for role, spent in found["cpu_seconds_by_role"].items())
    print(f"  CPU s of the run on Ray by role, without start and stop: {roles}")
    print(f"  start and stop take {found['start_cpu_seconds']:.1f} CPU s, regardless of the length")
    same_environment = sum(found["kernels_with_worker_environment"][name] for name in KERNELS)
    language_given = nine - taken["whisper"] + taken["whisper, language given"]
    print(f"  whole ÷ kernels, without start and stop; target ≤ {TARGET_RATIO}:")
    for what, kernels in (
        ("the six kernels that the target applies to", six),
        ("all kernels (with sound, ArcFace, sha256)", nine),
        ("all kernels, Whisper with the language given", language_given),
        ("the six kernels with the environment variables of the Whisper workers", same_environment),
    ):
        verdict = "reached" if whole / kernels <= TARGET_RATIO else "missed"
        print(f"    {whole / kernels:.3f} {verdict}: {what}")


def show_steady(found: dict[str, Any]) -> None:
    steady = found["steady"]
    if steady is None:
        print("steady: the film is too short to reach a steady state")
        return
    free = 1 - steady["other_share"]
    print(f"steady: {steady['seconds']:.0f} s from all workers started to the last segment assigned")
    busy, others = steady["busy_share"], steady["other_share"]
    print(f"  cores busy with mien {busy:.1%}, with other processes {others:.1%}; ", end="")
    print(f"{busy / free:.1%} of the remaining time (target ≥ 90 %)")
    inside = ", ".join(f"{name} {share:.0%}" for name, share in steady["workers_busy"].items())
    print(f"  time that workers spent in their stage: {inside}")
