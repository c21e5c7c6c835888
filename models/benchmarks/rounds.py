"""Measures every reader in every column, in rounds, so that a busy minute affects all readers."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from mien.models.benchmarks.readers import PEERS

SOURCE_FOLDER = Path(__file__).resolve().parents[2] / "src"
"""For the peers' Python, in which mien is not installed."""
_LIMIT_SECONDS = 900


@dataclass(slots=True)
class Measurements:
    """The rounds of one reader in one column."""

    rounds: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    def median(self, what: str) -> float:
        middle: float = median(values[what] for values in self.rounds)
        return middle

    def spread(self, what: str) -> float:
        """(largest - smallest) / median"""
        values: list[float] = [values[what] for values in self.rounds]
        return (max(values) - min(values)) / self.median(what)


Results = dict[str, dict[str, Measurements]]
"""By column and reader."""


def measure(
    folder: Path, *, columns: list[str], readers: list[str], rounds: int, seconds: float, peers: str | None
) -> Results:
    found: Results = {column: {reader: Measurements() for reader in readers} for column in columns}
    for number in range(rounds):
        for column in columns:
            for reader in readers:
                one = found[column][reader]
                if one.error:
                    continue
                python = peers if reader in PEERS else sys.executable
                if python is None:
                    one.error = "no --peers"
                    continue
                _round(one, python, reader=reader, column=column, folder=folder, seconds=seconds)
                outcome = one.error or f"{one.rounds[-1]['cpu_us']:.0f} µs"
                line = f"  round {number + 1}/{rounds} {column:7} {reader}: {outcome}"
                print(line, file=sys.stderr, flush=True)
    return found


def _round(one: Measurements, python: str, *, reader: str, column: str, folder: Path, seconds: float) -> None:
    """A reader that fails is skipped from then on. The last line of its error output is stored."""
    command = [
        python, "-m", "mien.models.benchmarks.measure_one",
        reader, column, str(folder), "--seconds", str(seconds),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(SOURCE_FOLDER), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            env=environment,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        one.error = f"no result after {_LIMIT_SECONDS} s"
        return
    if done.returncode:
        one.error = (done.stderr.strip().splitlines() or ["no error output"])[-1][:160]
        return
    one.rounds.append(json.loads(done.stdout.strip().splitlines()[-1]))
