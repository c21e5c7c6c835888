"""`mien explain`: shows the history of one video."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, existing_catalog, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded


@click.command(
    epilog="\b\nExample: mien explain talks/interview.mp4\n"
    "ID is the id of a video, PATH its file, and KEY the key of one of its samples.\n"
    "Exit codes: 0 success; 2 no such video in the catalog."
)
@click.argument("needle", metavar="ID|PATH|KEY")
@with_config
@json_option
def command(needle: str, loaded: Loaded, as_json: bool) -> None:
    """Shows what happened to every second of one video, and the original error messages."""
    import dataclasses

    from mien.cluster.report.status import history_lines
    from mien.ingest.errors import UsageError

    with existing_catalog(loaded) as catalog:
        history = catalog.explain(needle)
        alike = catalog.near_duplicates(history.video.key) if history is not None else []
    if history is None:
        raise UsageError(f"no video {needle!r} in the catalog; use an id, a path or the key of a sample")
    if as_json:
        echo_json({**dataclasses.asdict(history), "near_duplicate_of": alike})
    else:
        lines = [f"  similar   the sound matches {key}; both videos are used" for key in alike]
        click.echo("\n".join([*history_lines(history), *lines]))
