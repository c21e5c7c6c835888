"""`mien search`: adds the videos that a search finds to the catalog."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded
    from mien.cluster.runner.search import SearchResult
    from mien.ingest.media import SearchFilter

_RANGE = re.compile(r"(\d+(?:\.\d+)?)?-(\d+(?:\.\d+)?)?")


class DurationRange(click.ParamType[tuple[float | None, float | None]]):
    """A range in seconds: A-B, A- or -B."""

    name = "A-B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float | None, float | None]:
        match = _RANGE.fullmatch(str(value))
        if match is None or not (match[1] or match[2]):
            self.fail(f"write seconds as 60-3600, 60- or -3600; got {value!r}", param, ctx)
        low, high = (float(part) if part else None for part in match.groups())
        if low is not None and high is not None and low > high:
            self.fail(f"the minimum is larger than the maximum in {value!r}", param, ctx)
        return low, high


@click.command(
    epilog="\b\nExample: mien search 'ASL sign language vlog' --max 500 --duration 60-3600 --licence cc\n"
    "A query can also be a channel, an @handle, a playlist or a video. Repeat a search to add new videos.\n"
    "YouTube reveals the date, licence and language of a video only when it is downloaded. A video that\n"
    "does not match then fails with FilteredOutError. It is retried if a later search accepts it.\n"
    "Exit codes: 0 success; 1 a query stopped early; the videos it had found were added."
)
@click.argument("queries", nargs=-1, required=True, metavar="QUERY...")
@click.option(
    "--max",
    "limit",
    type=click.IntRange(1),
    default=100,
    show_default=True,
    help="Maximum number of videos per query.",
)
@click.option("--after", metavar="DATE", help="Only videos published on or after this day (YYYY-MM-DD).")
@click.option(
    "--duration", type=DurationRange(), help="Only videos of this length in seconds: 60-3600, 60- or -3600."
)
@click.option("--language", metavar="CODE", default="", help="Only videos in this language: en, pt, …")
@click.option(
    "--licence",
    type=click.Choice(["any", "cc"]),
    help="cc: only videos with a Creative Commons licence.  [default: acquire.licence]",
)
@click.option("--newest", is_flag=True, help="Sort by date, newest first, instead of by relevance.")
@click.option("--dry-run", is_flag=True, help="Show what would be added without adding it.")
@with_config
@json_option
def command(
    *,
    queries: tuple[str, ...],
    limit: int,
    after: str | None,
    duration: tuple[float | None, float | None] | None,
    language: str,
    licence: str | None,
    newest: bool,
    dry_run: bool,
    loaded: Loaded,
    as_json: bool,
) -> None:
    """Finds videos on YouTube by words, channel or playlist, and adds them to the catalog."""
    import shutil
    import sys

    from mien.cluster.report.search_results import results_table, summary_lines
    from mien.cluster.runner.search import search

    acquire = loaded.settings.acquire
    criteria = _criteria(
        after=acquire.after if after is None else after,
        duration=duration or (None, None),
        language=language,
        licence=acquire.licence if licence is None else licence,
    )

    def show_count(found: int) -> None:
        if sys.stderr.isatty():
            click.echo(f"\r{found} found\r", err=True, nl=False)

    result = search(
        loaded.settings,
        queries,
        filters=criteria,
        limit=limit,
        newest_first=newest,
        dry_run=dry_run,
        on_found=show_count,
    )
    if as_json:
        echo_json(_facts(result, dry_run=dry_run))
    else:
        if dry_run and (result.new or result.known):
            click.echo(results_table(result, width=max(80, shutil.get_terminal_size((120, 24)).columns)))
        click.echo("\n".join(summary_lines(result, dry_run=dry_run)))
    errors = [query.error for query in result.queries if query.error is not None]
    for error in errors:
        click.echo(f"mien: {error}", err=True)
    if errors:
        raise SystemExit(1)


def _criteria(
    *, after: str, duration: tuple[float | None, float | None], language: str, licence: str
) -> SearchFilter:
    from mien.ingest.media import SearchFilter
    from mien.ingest.platforms.acceptance import day

    if after:
        day(after)
    if language and not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", language):
        raise click.BadParameter(f"a language is a code such as en or pt-BR; got {language!r}")
    return SearchFilter(
        after=after,
        min_seconds=duration[0],
        max_seconds=duration[1],
        language=language,
        licence="" if licence == "any" else licence,
    )


def _facts(result: SearchResult, *, dry_run: bool) -> dict[str, Any]:
    return {
        "dry_run": dry_run,
        "new": len(result.new),
        "known": len(result.known),
        "queries": [
            {
                "query": query.query,
                "new": query.new,
                "known": query.known,
                "left_out": dict(query.left_out),
                "error": None if query.error is None else f"{type(query.error).__name__}: {query.error}",
            }
            for query in result.queries
        ],
        "videos": [
            {
                "key": ref.key,
                "new": new,
                "url": ref.uri,
                "title": ref.title,
                "channel": ref.channel,
                "duration_seconds": ref.duration_seconds,
                "query": ref.query,
            }
            for new, refs in ((True, result.new), (False, result.known))
            for ref in refs
        ],
        "requests": dict(result.requests),
    }
