"""Evaluates a recorded run: the steady state, the utilisation of the machine, and memory over time."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

HEAVY = ("faces", "transcribe")


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


@dataclass(frozen=True, slots=True)
class Steady:
    seconds: float
    busy_share: float
    """Share of all cores used by the measured process tree."""
    other_share: float
    """Share of all cores used by other processes at that time, which mien could not use."""
    workers_busy: dict[str, float]
    """Share of the time that the workers of each stage spent in the stage."""


def steady(lines: list[dict[str, Any]], cpu: list[tuple[float, float, float]], cores: int) -> Steady | None:
    """The time from the start of all workers to the assignment of the last segment to a heavy stage.

    `cpu`: (time, CPU seconds of the tree, CPU seconds of the whole machine).
    """
    started = [line["at"] for line in lines if all(pool["starting"] == 0 for pool in line["pools"])]
    waiting = [line["at"] for line in lines if any(_has_input(line, name) for name in ("split", *HEAVY))]
    if not started or not waiting or waiting[-1] - started[0] < 3:
        return None
    begin, end = started[0], waiting[-1]
    times, own, machine = (np.array(column) for column in zip(*cpu, strict=True))
    spent = np.interp([begin, end], times, own)
    whole = np.interp([begin, end], times, machine)
    first, last = (min(lines, key=lambda line: abs(line["at"] - at)) for at in (begin, end))
    inside = {
        after["name"]: (after["busy_seconds"] - before["busy_seconds"]) / after["workers"] / (end - begin)
        for before, after in zip(first["pools"], last["pools"], strict=True)
    }
    share = float(spent[1] - spent[0]) / (end - begin) / cores
    others = float(whole[1] - whole[0]) / (end - begin) / cores - share
    return Steady(end - begin, share, max(0.0, others), inside)


def _has_input(line: dict[str, Any], name: str) -> bool:
    """Whether `split` still has work, or segments are queued for a heavy stage."""
    pool = next((pool for pool in line["pools"] if pool["name"] == name), None)
    if pool is None:
        return False
    return bool(pool["queued"] if name != "split" else pool["queued"] or pool["busy"])


@dataclass(frozen=True, slots=True)
class Memory:
    driver_first_bytes: float
    driver_last_bytes: float
    driver_bytes_per_item: float
    """Slope of the driver's resident memory over the second half of the run."""
    spool_peak_bytes: int
    queued_peak_bytes: int
    retained_peak_bytes: int


def memory(lines: list[dict[str, Any]], stage: str) -> Memory:
    done = [next(pool["done"] for pool in line["pools"] if pool["name"] == stage) for line in lines]
    rss = [line["rss_bytes"] for line in lines]
    half = next((n for n, count in enumerate(done) if count >= done[-1] / 2), 0)
    x, y = np.array(done[half:], float), np.array(rss[half:], float)
    slope = float(np.polyfit(x, y, 1)[0]) if np.unique(x).size > 2 else 0.0
    return Memory(
        driver_first_bytes=rss[half],
        driver_last_bytes=rss[-1],
        driver_bytes_per_item=slope,
        spool_peak_bytes=max(line["spool_bytes"] for line in lines),
        queued_peak_bytes=max(sum(pool["queued_bytes"] for pool in line["pools"]) for line in lines),
        retained_peak_bytes=max(line["retained_bytes"] for line in lines),
    )
