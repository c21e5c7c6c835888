"""Section `stalls`: how long segments that hang, crash or use up memory delay all other segments.

The same two films are processed without faults and with one segment of each fault. The figures are wall time,
so they depend on the machine and its load. tests/cluster/test_stalls.py tests the order of events instead.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mien.cluster.benchmarks.faulty_run import (
    DEADLINE_SECONDS,
    HANGING,
    choose_faults,
    make_two_films,
    run_with_faults,
)
from mien.models.benchmarks.report import Table, about


def measure(folder: Path) -> dict[str, Any]:
    films = folder / "films"
    films.mkdir()
    make_two_films(films)
    clean = run_with_faults(folder / "clean", films, {})
    faults = choose_faults(clean)
    faulty = run_with_faults(folder / "faulty", films, faults)
    # Compare the same number of commits: the faulty run commits fewer segments.
    clean_seconds, faulty_seconds = clean.commits[len(faulty.commits) - 1], faulty.commits[-1]
    return {
        "faults": faults,
        "innocent": len(faulty.commits),
        "clean_seconds": clean_seconds,
        "faulty_seconds": faulty_seconds,
        "deadline_seconds": DEADLINE_SECONDS,
        "delay_deadlines": (faulty_seconds - clean_seconds) / DEADLINE_SECONDS,
    }


def show(found: dict[str, Any]) -> None:
    hanging = sum(fault in HANGING for fault in found["faults"].values())
    print(about(f"stalls: {len(found['faults'])} segments have a fault, {hanging} of them hang"))
    table = Table(f"until {found['innocent']} segments without a fault are committed", "s")
    table.row("no faults", f"{found['clean_seconds']:.1f}")
    table.row("with faults", f"{found['faulty_seconds']:.1f}")
    table.row(f"delay, in deadlines of {found['deadline_seconds']:.0f} s", f"{found['delay_deadlines']:.2f}")
    table.show()
