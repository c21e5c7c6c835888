"""Shards and their statistics as text for people."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mien.cluster.inspection.shard_list import ShardRow
from mien.cluster.inspection.statistics import QUANTILES, Share, Spread, Stats, measured_columns
from mien.cluster.report.formatting import format_length, pluralize, terminal_safe

if TYPE_CHECKING:
    from rich.table import Table
    from rich.text import Text

MOST_VALUES = 12
"""The number of values shown per table; `--json` prints all."""
_TEXT_COLUMNS = 40


def shards_table(rows: Sequence[ShardRow], *, width: int) -> str:
    table = _table("shard", "samples", "MB", "hours", "index", left=("shard", "index"))
    for row in rows:
        size = None if row.bytes is None else row.bytes / 1e6
        table.add_row(
            _text(row.name), _count(row.samples), _number(size, 1), _number(row.hours, 3), _text(row.state)
        )
    return _page(table, width)


def shards_summary(rows: Sequence[ShardRow]) -> str:
    read = [row for row in rows if row.samples is not None]
    hours = [row.hours for row in read if row.hours is not None]
    text = f"{pluralize(len(read), 'shard')}, {pluralize(sum(row.samples or 0 for row in read), 'sample')}, "
    text += f"{sum(row.bytes or 0 for row in read) / 1e6:,.1f} MB"
    text += f", {format_length(3600 * sum(hours))}" if hours else ""
    apart = len(rows) - len(read)
    return text + (f"; {apart} more without a sidecar: not committed, ignored by readers" if apart else "")


def stats_page(stats: Stats, *, width: int) -> str:
    length = "" if stats.hours is None else f", {format_length(3600 * stats.hours)}"
    videos = "" if stats.videos is None else f" of {pluralize(stats.videos, 'video')}"
    filtered = f" ({stats.samples / stats.of:.1%} of {stats.of:,})" if stats.samples < stats.of else ""
    samples, shards = pluralize(stats.samples, "sample"), pluralize(stats.shards, "shard")
    head = f"{samples}{filtered}{videos}{length}, in {shards}"
    parts = [head]
    if stats.spreads:
        parts.append(_page(_spreads(stats.spreads), width))
    parts += [_page(_shares(name, shares), width) for name, shares in stats.shares.items()]
    return "\n\n".join(parts)


def _spreads(spreads: Mapping[str, Spread]) -> Table:
    heads = [f"{round(100 * part)} %" for part in QUANTILES]
    table = _table("", "known of", *heads, left=("",))
    for name, spread in spreads.items():
        cells = [_number(spread.quantiles.get(part), 2) for part in QUANTILES]
        table.add_row(measured_columns()[name], _count(spread.samples), *cells)
    return table


def _shares(name: str, shares: Mapping[str, Share]) -> Table:
    table = _table(
        name.replace("label:", "label "), "samples", "hours", left=(name.replace("label:", "label "),)
    )
    for value, share in list(shares.items())[:MOST_VALUES]:
        table.add_row(_text(value), _count(share.samples), _number(share.hours, 3))
    rest = list(shares.values())[MOST_VALUES:]
    if rest:
        known = [share.hours for share in rest if share.hours is not None]
        table.add_row(
            _text(f"({len(rest)} more)"),
            _count(sum(share.samples for share in rest)),
            _number(sum(known) if known else None, 3),
        )
    return table


def _table(*names: str, left: Sequence[str]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    for name in names:
        side = "left" if name in left else "right"
        table.add_column(Text(terminal_safe(name)), justify=side, overflow="fold")  # type: ignore[arg-type]
    return table


def _text(value: str) -> Text:
    from rich.text import Text

    text = terminal_safe(value)
    return Text(text if len(text) <= _TEXT_COLUMNS * 2 else f"{text[: _TEXT_COLUMNS * 2 - 1]}…")


def _count(value: int | None) -> str:
    return "?" if value is None else f"{value:,}"


def _number(value: float | None, digits: int) -> str:
    return "?" if value is None else f"{value:,.{digits}f}"


def _page(table: Table, width: int) -> str:
    from rich.console import Console

    page = io.StringIO()
    Console(file=page, width=width, color_system=None, legacy_windows=False).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())
