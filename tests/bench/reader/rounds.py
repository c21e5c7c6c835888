"""Every reader at every column, in several rounds that take turns, so that a busy minute hits them all."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from tests.bench.reader.contenders import PEERS

ROOT = Path(__file__).resolve().parents[3]
_LIMIT_SECONDS = 900


@dataclass(slots=True)
class Found:
    """What the rounds told of one reader at one column."""

    rounds: list[dict[str, Any]] = field(default_factory=list)
    error: str = ""

    def median(self, what: str) -> float:
        middle: float = median(told[what] for told in self.rounds)
        return middle

    def spread(self, what: str) -> float:
        """(largest - smallest) / median"""
        values: list[float] = [told[what] for told in self.rounds]
        return (max(values) - min(values)) / self.median(what)


Results = dict[str, dict[str, Found]]
"""By column and reader."""


def measure(
    folder: Path, *, columns: list[str], readers: list[str], rounds: int, seconds: float, peers: str | None
) -> Results:
    found: Results = {column: {reader: Found() for reader in readers} for column in columns}
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
                _round(one, python, reader, column, folder, seconds)
                told = one.error or f"{one.rounds[-1]['cpu_us']:.0f} µs"
                line = f"  round {number + 1}/{rounds} {column:7} {reader}: {told}"
                print(line, file=sys.stderr, flush=True)
    return found


def _round(one: Found, python: str, reader: str, column: str, folder: Path, seconds: float) -> None:
    """A reader that fails is left out from then on, with the last line of what it said."""
    command = [
        python, "-m", "tests.bench.reader.run", reader, column, str(folder), "--seconds", str(seconds),
    ]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment,
            timeout=_LIMIT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        one.error = f"nothing after {_LIMIT_SECONDS} s"
        return
    if done.returncode:
        one.error = (done.stderr.strip().splitlines() or ["it says nothing"])[-1][:160]
        return
    one.rounds.append(json.loads(done.stdout.strip().splitlines()[-1]))
