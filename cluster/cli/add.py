"""`mien add`: what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded


@click.command(
    epilog="\b\nExample: mien add talks/ interview.mp4 https://example.org/film.webm\n"
    "A corpus, with its labels: ravdess:FOLDER, cremad:FOLDER, mead:FOLDER, chunicamp:FOLDER\n"
    "A table (.csv, .tsv, .jsonl, .parquet) with a column path, url or uri: the others are labels.\n"
    "A list (.txt): a path or URL in each line.\n"
    "What is known already learns the labels of a table that is added later; samples that were written\n"
    "before stay as they are.\n"
    "YouTube: a video, short, channel, @handle or playlist; mien search finds by words.\n"
    "Exit codes: 0 all added or known; 1 something was left out (named; the rest was added)."
)
@click.argument("what", nargs=-1, required=True, metavar="PATH|FOLDER|URL|CORPUS:FOLDER|TABLE...")
@click.option("--column", default="", help="A table's column of paths or URLs.  [default: path, url or uri]")
@with_config
@json_option
def command(what: tuple[str, ...], column: str, loaded: Loaded, as_json: bool) -> None:
    """Adds videos to the catalog: files, folders, URLs, labelled corpora, tables; no media is read yet."""
    from mien.cluster.runner.catalog_additions import add
    from mien.ingest.sources import SOUND_EXTENSIONS

    result, tally = add(loaded.settings, what, column=column)
    if as_json:
        echo_json(
            {
                "new": result.new,
                "known": result.known,
                "labelled": result.labelled,
                "written_before": result.written,
                "skipped": dict(tally.skipped),
                "copies": dict(tally.copies),
                "left_out": dict(tally.left_out),
                "errors": [str(error) for error in tally.errors],
            }
        )
    else:
        nothing = "" if result.new or result.known or tally.errors else ": there are no media files there"
        click.echo(f"{len(result.new)} new, {len(result.known)} known already{nothing}")
        if result.labelled:
            click.echo(
                f"{len(result.labelled)} of the known learned something: labels, or what they are called"
            )
        if result.written:
            click.echo(
                f"{len(result.written)} of them have samples, or are being made into some: "
                "these stay as they are, and are not made again"
            )
        if tally.skipped_count:
            click.echo(tally.summary())
        if tally.left_out:
            reasons = ", ".join(f"{count} {reason}" for reason, count in tally.left_out.most_common())
            click.echo(f"left out {reasons}")
        if tally.copies:
            click.echo(f"{tally.copies.total()} files hold what another of them holds, in another format")
        sounds = sum(count for kind, count in tally.skipped.items() if kind in SOUND_EXTENSIONS)
        if sounds:
            click.echo(f"{sounds} of them sound alone, which is taken with --set clip.require=speech")
    for error in tally.errors:
        click.echo(f"mien: {type(error).__name__}: {error}", err=True)
    if tally.errors:
        raise SystemExit(1)
