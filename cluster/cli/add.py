"""`mien add`: adds videos to the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded


@click.command(
    epilog="\b\nExample: mien add talks/ interview.mp4 https://example.org/film.webm\n"
    "Labelled dataset: ravdess:FOLDER, cremad:FOLDER, mead:FOLDER or chunicamp:FOLDER.\n"
    "Table (.csv, .tsv, .jsonl, .parquet): needs a column path, url or uri; other columns are labels.\n"
    "List (.txt): one path or URL per line.\n"
    "YouTube: the URL of a video, short, channel or playlist, or an @handle. To find videos by words,\n"
    "use `mien search`.\n"
    "Labels in a table are also added to videos that are already in the catalog.\n"
    "Samples that are already written do not change.\n"
    "Exit codes: 0 everything was added or already known; 1 some items could not be added."
)
@click.argument("what", nargs=-1, required=True, metavar="PATH|FOLDER|URL|DATASET:FOLDER|TABLE...")
@click.option(
    "--column",
    default="",
    help="Column of a table that holds the paths or URLs.  [default: path, url or uri]",
)
@with_config
@json_option
def command(what: tuple[str, ...], column: str, loaded: Loaded, as_json: bool) -> None:
    """Adds videos to the catalog (files, folders, URLs, labelled datasets, tables) without reading media."""
    from mien.cluster.report.formatting import pluralize
    from mien.cluster.runner.catalog_additions import add
    from mien.ingest.sources import SOUND_EXTENSIONS

    result, skipped = add(loaded.settings, what, column=column)
    if as_json:
        echo_json(
            {
                "new": result.new,
                "known": result.known,
                "labelled": result.labelled,
                "written_before": result.written,
                "skipped": dict(skipped.not_media),
                "copies": dict(skipped.copies),
                "left_out": dict(skipped.left_out),
                "errors": [str(error) for error in skipped.errors],
            }
        )
    else:
        is_empty = not (result.new or result.known or skipped.errors)
        note = "; found no media files" if is_empty else ""
        click.echo(f"{len(result.new)} new, {len(result.known)} already known{note}")
        if result.labelled:
            click.echo(f"added labels or titles to {pluralize(len(result.labelled), 'known video')}")
        if result.written:
            click.echo(f"{len(result.written)} of them already have samples, which do not change")
        if skipped.skipped_count:
            click.echo(skipped.summary())
        if skipped.left_out:
            reasons = ", ".join(f"{count} {reason}" for reason, count in skipped.left_out.most_common())
            click.echo(f"skipped {reasons}")
        if skipped.copies:
            files = pluralize(skipped.copies.total(), "file")
            click.echo(f"skipped {files} with the same recording as another file, in another format")
        sounds = sum(count for kind, count in skipped.not_media.items() if kind in SOUND_EXTENSIONS)
        if sounds:
            click.echo(f"{pluralize(sounds, 'skipped sound file')}: --set clip.require=speech accepts sound")
    for error in skipped.errors:
        click.echo(f"mien: {error}", err=True)
    if skipped.errors:
        raise SystemExit(1)
