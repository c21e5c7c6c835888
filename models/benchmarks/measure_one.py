"""Measures one reader in one column, in a process of its own. Prints a line of JSON.

    python -m mien.models.benchmarks.measure_one READER COLUMN FOLDER [--seconds N]

The first epoch warms up: workers start, memory is allocated, checksums are verified. The following epochs are
measured: CPU time of this process and of every worker, and wall time.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from pathlib import Path
from typing import Any

from mien.models.benchmarks.columns import COLUMNS
from mien.models.benchmarks.readers import LEAN, open_reader

_TICK = os.sysconf("SC_CLK_TCK")


def measure(reader: str, column: str, folder: Path, seconds: float) -> dict[str, Any]:
    definition = COLUMNS[column]
    epochs = open_reader(reader)(folder, definition.task, definition.workers, lean=reader in LEAN)
    for _ in epochs:
        pass
    samples, cpu, wall = 0, cpu_seconds(), time.perf_counter()
    while time.perf_counter() - wall < seconds:
        for batch in epochs:
            samples += size_of(batch)
            del batch  # like a training step, which releases a batch before it asks for the next
    cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
    return {
        "samples": samples,
        "cpu_us": cpu / samples * 1e6,
        "wall_us": wall / samples * 1e6,
        "memory_bytes": memory_bytes(),
    }


def size_of(batch: Any) -> int:
    return len(next(iter(batch.values()))) if isinstance(batch, dict) else len(batch)


def cpu_seconds() -> float:
    """CPU time of this process (resolution 1 ns) and of its live descendants (10 ms)."""
    return time.process_time() + sum(_spent(pid) for pid in descendants(os.getpid()))


def descendants(root: int) -> list[int]:
    parents = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and (fields := _stat(int(entry.name))):
            parents[int(entry.name)] = int(fields[1])
    found, fresh = set[int](), {root}
    while fresh:
        fresh = {pid for pid, parent in parents.items() if parent in fresh}
        found |= fresh
    return sorted(found)


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _spent(pid: int) -> float:
    fields = _stat(pid)
    return (int(fields[11]) + int(fields[12])) / _TICK if fields else 0.0


def memory_bytes() -> int:
    """Current proportional set size (PSS): memory shared by several processes is counted once."""
    total = 0
    for pid in [os.getpid(), *descendants(os.getpid())]:
        try:
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("reader")
    parser.add_argument("column")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seconds", type=float, default=1.0)
    arguments = parser.parse_args()
    print(json.dumps(measure(arguments.reader, arguments.column, arguments.folder, arguments.seconds)))


if __name__ == "__main__":
    main()
