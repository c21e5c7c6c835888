"""What a search found, for people: a table, and one line for each query."""

from __future__ import annotations

import io
import unicodedata

from mien.cluster.runner.searching import Asked, SearchResult
from mien.ingest.media import VideoRef

_JOINERS = "\u200c\u200d"  # within emoji and within the scripts that need them
_ISOLATE, _END = "\u2068", "\u2069"
_TITLE_COLUMNS, _CHANNEL_COLUMNS = 60, 24


def shown(text: str) -> str:
    """`text` so that it changes nothing but its own place on a terminal.

    No control character or escape sequence is left, no mark that turns the direction of what follows, and
    what is written from right to left is isolated (Unicode Standard Annex 9, FSI … PDI).
    """
    kept = []
    for letter in text:
        category = unicodedata.category(letter)
        if category in {"Cc", "Zl", "Zp"}:
            kept.append(" ")
        elif category in {"Cs", "Co", "Cn"}:
            kept.append("\ufffd")
        elif category != "Cf" or letter in _JOINERS:
            kept.append(letter)
    plain = " ".join("".join(kept).split())
    turned = any(unicodedata.bidirectional(letter) in {"R", "AL", "AN"} for letter in plain)
    return f"{_ISOLATE}{plain}{_END}" if turned else plain


def clock(seconds: float | None) -> str:
    """ "1:02:03", "2:03", or "?"."""
    if seconds is None:
        return "?"
    minutes, second = divmod(round(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def found_table(result: SearchResult, *, width: int) -> str:
    """Id, duration, title and channel of each video, and whether it would be new."""
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False)
    table.add_column("")
    table.add_column("id", no_wrap=True)
    table.add_column("duration", justify="right", no_wrap=True)
    table.add_column("title", no_wrap=True, overflow="ellipsis", max_width=_TITLE_COLUMNS)
    table.add_column("channel", no_wrap=True, overflow="ellipsis", max_width=_CHANNEL_COLUMNS)
    for state, refs in (("new", result.new), ("known", result.known)):
        for ref in refs:
            # As Text: a title with brackets is no markup.
            table.add_row(state, *(Text(cell) for cell in _cells(ref)))
    page = io.StringIO()
    Console(file=page, width=width, color_system=None, legacy_windows=False).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _cells(ref: VideoRef) -> tuple[str, str, str, str]:
    return ref.id, clock(ref.duration_seconds), shown(ref.title), shown(ref.channel)


def summary_lines(result: SearchResult, *, dry_run: bool) -> list[str]:
    """ "23 new, 477 known already", and where there are several queries a line for each."""
    lines = [f"{len(result.new)} {'would be ' * dry_run}new, {len(result.known)} known already"]
    several = len(result.queries) > 1
    for asked in result.queries:
        told = [f"{asked.new} new, {asked.known} known"] if several else []
        if asked.left_out:
            told.append(f"left out {_reasons(asked)}")
        if told:
            lines.append((f"  {shown(asked.query)}: " if several else "") + "; ".join(told))
    return lines


def _reasons(asked: Asked) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in asked.left_out.most_common())
