"""`mien search`: from a sentence to rows of the catalog."""

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
    """A-B, A- or -B, in seconds."""

    name = "A-B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float | None, float | None]:
        match = _RANGE.fullmatch(str(value))
        if match is None or not (match[1] or match[2]):
            self.fail(f"write seconds as 60-3600, 60- or -3600; got {value!r}", param, ctx)
        low, high = (float(part) if part else None for part in match.groups())
        if low is not None and high is not None and low > high:
            self.fail(f"the first of {value!r} is the shorter one", param, ctx)
        return low, high


@click.command(
    epilog="\b\nExample: mien search 'ASL sign language vlog' --max 500 --duration 60-3600 --licence cc\n"
    "A query may also be a channel, a @handle, a playlist or a video. Search again to add what is new.\n"
    "YouTube says a video's date, licence and language only when it is fetched: one that is not as\n"
    "wanted ends as FilteredOutError then, and waits again when another search asks for less.\n"
    "Exit codes: 0 done; 1 a query was broken off (named; what it had found was added)."
)
@click.argument("queries", nargs=-1, required=True, metavar="QUERY...")
@click.option(
    "--max", "limit", type=click.IntRange(1), default=100, show_default=True, help="Videos of each query."
)
@click.option("--after", metavar="DATE", help="Published on this day (YYYY-MM-DD) or later.")
@click.option("--duration", type=DurationRange(), help="Seconds, as 60-3600, 60- or -3600.")
@click.option("--language", metavar="xx", default="", help="Of the speech, as en or pt.")
@click.option(
    "--licence",
    type=click.Choice(["any", "cc"]),
    help="cc: under a Creative Commons licence.  [default: acquire.licence]",
)
@click.option("--newest", is_flag=True, help="Newest first, instead of what fits best.")
@click.option("--dry-run", is_flag=True, help="Show what would be added, and add nothing.")
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
    """Finds videos on YouTube by words, in channels and in playlists, and adds them to the catalog."""
    import shutil
    import sys

    from mien.cluster.report.search_results import results_table, summary_lines
    from mien.cluster.runner.search import search

    acquire = loaded.settings.acquire
    wanted = _wanted(
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
        wanted=wanted,
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
    errors = [asked.error for asked in result.queries if asked.error is not None]
    for error in errors:
        click.echo(f"mien: {type(error).__name__}: {error}", err=True)
    if errors:
        raise SystemExit(1)


def _wanted(
    *, after: str, duration: tuple[float | None, float | None], language: str, licence: str
) -> SearchFilter:
    from mien.ingest.media import SearchFilter
    from mien.ingest.youtube.filters import day

    if after:
        day(after)
    if language and not re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*", language):
        raise click.BadParameter(f"a language is a code, as en or pt-BR; got {language!r}")
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
                "query": asked.query,
                "new": asked.new,
                "known": asked.known,
                "left_out": dict(asked.left_out),
                "error": None if asked.error is None else f"{type(asked.error).__name__}: {asked.error}",
            }
            for asked in result.queries
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
