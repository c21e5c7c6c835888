"""Prints tables, and describes the machine of a measurement."""

from __future__ import annotations

import os
import time


class Table:
    def __init__(self, *headings: str) -> None:
        self._rows: list[tuple[str, ...]] = [headings]

    def row(self, *cells: str) -> None:
        self._rows.append(cells)

    def show(self) -> None:
        widths = [max(len(row[column]) for row in self._rows) for column in range(len(self._rows[0]))]
        for number, row in enumerate(self._rows):
            first, *rest = row
            cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
            print("  " + "  ".join([first.ljust(widths[0]), *cells]))
            if number == 0:
                print("  " + "  ".join("─" * width for width in widths))
        print()


def about(title: str) -> str:
    """A heading with the time, the number of cores and the load."""
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return f"── {title}\n  {time.strftime('%H:%M:%S')}, {os.cpu_count()} cores, load {load}"


def mb(amount: float) -> str:
    return f"{amount / 1e6:,.0f} MB"
