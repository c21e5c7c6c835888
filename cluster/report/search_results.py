"""The results of a search as text: a table of videos, and one line per query."""

from __future__ import annotations

import io

from mien.cluster.report.formatting import format_length, terminal_safe
from mien.cluster.runner.search import QueryResult, SearchResult
from mien.ingest.media import VideoRef

_TITLE_COLUMNS, _CHANNEL_COLUMNS = 60, 24


def results_table(result: SearchResult, *, width: int) -> str:
    """One row per video: whether it is new, its id, duration, title and channel."""
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
            # Wrapped in Text so that brackets in a title are not parsed as markup.
            table.add_row(state, *(Text(cell) for cell in _cells(ref)))
    page = io.StringIO()
    Console(file=page, width=width, color_system=None, legacy_windows=False).print(table)
    return "\n".join(line.rstrip() for line in page.getvalue().splitlines())


def _cells(ref: VideoRef) -> tuple[str, str, str, str]:
    return (
        ref.id,
        format_length(ref.duration_seconds),
        terminal_safe(ref.title),
        terminal_safe(ref.channel),
    )


def summary_lines(result: SearchResult, *, dry_run: bool) -> list[str]:
    """ "23 new, 477 already known", and one line per query if there are several."""
    lines = [f"{len(result.new)} {'would be ' * dry_run}new, {len(result.known)} already known"]
    has_several = len(result.queries) > 1
    for query in result.queries:
        parts = [f"{query.new} new, {query.known} known"] if has_several else []
        if query.left_out:
            parts.append(f"skipped {_reasons(query)}")
        if parts:
            lines.append((f"  {terminal_safe(query.query)}: " if has_several else "") + "; ".join(parts))
    return lines


def _reasons(query: QueryResult) -> str:
    return ", ".join(f"{count} {reason}" for reason, count in query.left_out.most_common())
