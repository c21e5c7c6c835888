"""The tables, and what was to be reached."""

from __future__ import annotations

from tests.bench.reader.columns import COLUMNS
from tests.bench.reader.rounds import Found, Results
from tests.bench.report import Table, mb

OURS = "mien"
BASES = ("tarfile", "webdataset")


def show(found: Results) -> None:
    for column, by_reader in found.items():
        what = COLUMNS[column]
        bases = [name for name in BASES if name in by_reader and by_reader[name].rounds]
        headings = ("CPU µs", "spread", "wall µs", "memory", *(f"÷ {name}" for name in bases))
        table, failed = Table(f"{column}: {what.title}", *headings), list[str]()
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
            print(f"  left out: {failure}")
    _verdicts(found)


def _verdicts(found: Results) -> None:
    print("targets, in CPU per sample:")
    for column, by_reader in found.items():
        ours = by_reader.get(OURS, Found())
        if not ours.rounds:
            continue
        mine = ours.median("cpu_us")
        for target in COLUMNS[column].targets:
            base = found.get(target.column, {}).get(target.reader, Found())
            if base.rounds:
                _verdict(
                    f"{column} ≤ {target.ratio} of {target.reader} at {target.column}",
                    mine / base.median("cpu_us"),
                    target.ratio,
                )
        others = {
            name: one.median("cpu_us") for name, one in by_reader.items() if name != OURS and one.rounds
        }
        if others:
            best = min(others, key=lambda name: others[name])
            _verdict(f"{column}: ahead of all, {best} being the next", mine / others[best], 1.0)


def _verdict(what: str, ratio: float, limit: float) -> None:
    print(f"  {'PASS' if ratio <= limit else 'MISSED'}  {ratio:.2f}  {what}")
