"""What segments that hang, die, raise and devour cost those that do not.

    python -m tests.bench stalls

The same two films, clean and then with a segment of each fate. The clock is what this is about, so the
figures are those of the machine and of who else is on it; tests/cluster/test_stalls.py holds the order.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.bench.report import Table, about
from tests.poison import DEADLINE_SECONDS, HANGING, choose_fates, told, two_films


def measure(folder: Path) -> dict[str, Any]:
    films = folder / "films"
    films.mkdir()
    two_films(films)
    clean = told(folder / "clean", films, {})
    fates = choose_fates(clean)
    poisoned = told(folder / "poisoned", films, fates)
    # The last of as many as the poisoned run could commit.
    without, seconds = clean.commits[len(poisoned.commits) - 1], poisoned.commits[-1]
    return {
        "fates": fates,
        "innocent": len(poisoned.commits),
        "clean_seconds": without,
        "poisoned_seconds": seconds,
        "deadline_seconds": DEADLINE_SECONDS,
        "delay_deadlines": (seconds - without) / DEADLINE_SECONDS,
    }


def show(found: dict[str, Any]) -> None:
    hanging = sum(fate in HANGING for fate in found["fates"].values())
    print(about(f"stalls: {len(found['fates'])} poisoned segments, {hanging} of them hang"))
    table = Table(f"{found['innocent']} innocent segments are committed", "s")
    table.row("clean", f"{found['clean_seconds']:.1f}")
    table.row("poisoned", f"{found['poisoned_seconds']:.1f}")
    table.row(f"delay, in deadlines of {found['deadline_seconds']:.0f} s", f"{found['delay_deadlines']:.2f}")
    table.show()
