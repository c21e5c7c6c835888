"""Prints the tables, and compares them with the targets."""

from __future__ import annotations

from mien.models.benchmarks.columns import COLUMNS
from mien.models.benchmarks.report import Table, mb
from mien.models.benchmarks.rounds import Measurements, Results

MIEN = "mien"
BASES = ("tarfile", "webdataset")


def show(found: Results) -> None:
    for column, by_reader in found.items():
        definition = COLUMNS[column]
        bases = [name for name in BASES if name in by_reader and by_reader[name].rounds]
        headings = ("CPU µs", "spread", "wall µs", "memory", *(f"÷ {name}" for name in bases))
        table, failed = Table(f"{column}: {definition.title}", *headings), list[str]()
        for reader, one in by_reader.items():
            if not one.rounds:
                failed.append(f"{reader}: {one.error}")
                continue
            cpu = one.median("cpu_us")
            table.row(
                reader,
                f"{cpu:,.0f}",
                f"{one.spread('cpu_us'):.0%}",
                f"{one.median('wall_us'):,.0f}",
                mb(one.median("memory_bytes")),
                *(f"{cpu / by_reader[name].median('cpu_us'):.2f}" for name in bases),
            )
        table.show()
        for failure in failed:
            print(f"  skipped: {failure}")
    _show_targets(found)


def _show_targets(found: Results) -> None:
    print("targets, in CPU per sample:")
    for column, by_reader in found.items():
        ours = by_reader.get(MIEN, Measurements())
        if not ours.rounds:
            continue
        mine = ours.median("cpu_us")
        for target in COLUMNS[column].targets:
            base = found.get(target.column, {}).get(target.reader, Measurements())
            if base.rounds:
                _show_target(
                    f"{column} ≤ {target.ratio} of {target.reader} at {target.column}",
                    mine / base.median("cpu_us"),
                    target.ratio,
                )
        others = {
            name: one.median("cpu_us") for name, one in by_reader.items() if name != MIEN and one.rounds
        }
        if others:
            best = min(others, key=lambda name: others[name])
            _show_target(f"{column}: better than the best other reader, {best}", mine / others[best], 1.0)


def _show_target(what: str, ratio: float, limit: float) -> None:
    print(f"  {'PASS' if ratio <= limit else 'MISSED'}  {ratio:.2f}  {what}")
