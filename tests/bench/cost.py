"""Sections `cost` and `steady`: the kernels alone, and the whole pipeline, on the same film in one run."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from typing import Any

from mien.pipelines.transcribe.stage import Transcribe
from tests.bench import timeline
from tests.bench.at_once import told_at_once
from tests.bench.film import talk_film
from tests.bench.report import Table, about
from tests.bench.tree import measure_module

REACH = 1.15
# What the ratio is asked of; the rest is work that any pipeline has too, and is shown with it.
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
    "whisper told": "for comparison: Whisper, told the language",
    "ffmpeg -f null": "for comparison: decode pictures (ffmpeg, 1 thread)",
}


def measure(folder: Path, *, seconds: float, media: Path | None) -> dict[str, Any]:
    film = talk_film(folder, seconds, media=media)
    print(about(f"cost: {seconds:.0f} s of {film.made_of}"), flush=True)
    alone, kept = _alone(film.path, {}), _alone(film.path, Transcribe.environment)
    start, _ = measure_module(
        "tests.bench.drive", str(folder / "s0"), str(folder / "t0"), str(film.path), "--only-start"
    )
    whole, told = measure_module("tests.bench.drive", str(folder / "s1"), str(folder / "t1"), str(film.path))
    steady = timeline.steady(timeline.read(folder / "t1"), whole.timeline, os.cpu_count() or 1)
    return {
        "film_seconds": seconds,
        "alone": alone,
        "kernels_that_keep_memory": kept["kernels"],
        "start_cpu_seconds": start.cpu_seconds,
        "whole_cpu_seconds": whole.cpu_seconds,
        "cpu_seconds_by_role": {
            role: seconds - start.by_role.get(role, 0.0) for role, seconds in whole.by_role.items()
        },
        "wall_seconds": whole.wall_seconds,
        "start_wall_seconds": start.wall_seconds,
        "peak_bytes": whole.peak_bytes,
        "fates": told["seconds_by_fate"],
        "steady": None if steady is None else {
            "seconds": steady.seconds,
            "busy_share": steady.busy_share,
            "other_share": steady.other_share,
            "workers_busy": steady.workers_busy,
        },
        "load": os.getloadavg()[0],
        "at": time.time(),
    }  # fmt: skip


def _alone(film: Path, environment: dict[str, str]) -> dict[str, Any]:
    """The mean of one process for each core, all at once: a core's second does less while its neighbours
    work as well (they share caches, memory and heat), and in the run they all do."""
    command = [sys.executable, "-m", "tests.bench.kernels", str(film)]
    mean: dict[str, Any] = _mean(told_at_once([command] * (os.cpu_count() or 1), environment))
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
    print(f"  speech in {speech:.0%} of it, a face in {face:.0%}; pictures decoded of {decoded:.0f} s;")
    print("  " + ", ".join(f"{counts[name]} {name}" for name in COUNTED))
    table = Table("kernels alone, each core at its own copy", "CPU s", "per video-s")
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
    table = Table("together", "CPU s", "per video-s", "÷ six kernels", "÷ all kernels")
    for name, spent in (
        ("the six kernels (decode, SCRFD, VAD, Whisper, JPEG, FLAC)", six),
        ("all kernels (with sound, ArcFace, sha256)", nine),
        ("mien run --local, less loading the networks", local),
        ("mien run on Ray, less starting and ending it", whole),
        ("mien run on Ray, start to end", found["whole_cpu_seconds"]),
    ):
        table.row(name, f"{spent:.2f}", f"{spent / seconds:.5f}", f"{spent / six:.3f}", f"{spent / nine:.3f}")
    table.show()
    roles = ", ".join(f"{role} {spent:.2f}" for role, spent in found["cpu_seconds_by_role"].items())
    print(f"  of the run on Ray, less starting and ending it, in CPU s: {roles}")
    print(f"  starting and ending it, {found['start_cpu_seconds']:.1f} CPU s, whatever the length")
    kept = sum(found["kernels_that_keep_memory"][name] for name in KERNELS)
    told = nine - taken["whisper"] + taken["whisper told"]
    print(f"  whole ÷ kernels, start-up left out; reach ≤ {REACH}:")
    for what, kernels in (
        ("the six kernels that the reach is asked of", six),
        ("all kernels (with sound, ArcFace, sha256)", nine),
        ("all kernels, Whisper told the language that the pipeline finds out", told),
        ("the six kernels in processes with the environment of Whisper's workers", kept),
    ):
        verdict = "reached" if whole / kernels <= REACH else "missed"
        print(f"    {whole / kernels:.3f} {verdict}: {what}")


def show_steady(found: dict[str, Any]) -> None:
    steady = found["steady"]
    if steady is None:
        print("steady: the film is too short to have a steady state")
        return
    free = 1 - steady["other_share"]
    print(f"steady: {steady['seconds']:.0f} s from all workers up to the last segment handed out")
    busy, others = steady["busy_share"], steady["other_share"]
    print(f"  cores busy with it {busy:.1%}, with others {others:.1%}; ", end="")
    print(f"of what others left {busy / free:.1%} (reach ≥ 90 %)")
    inside = ", ".join(f"{name} {share:.0%}" for name, share in steady["workers_busy"].items())
    print(f"  workers inside their stage: {inside}")
