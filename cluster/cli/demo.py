"""`mien demo`: everything at work, on three small films."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from cluster.cli.options import with_config

if TYPE_CHECKING:
    from cluster.config import Loaded


@click.command(epilog="Example: mien demo --folder /tmp/demo")
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("mien-demo"),
    show_default=True,
    help="Where films, shards and unpacked samples go; an earlier demo there is replaced.",
)
@click.option("--local", is_flag=True, help="One process, no Ray.")
@with_config
def command(folder: Path, local: bool, loaded: Loaded) -> None:
    """Turns three small films (one talks, one is silent, one has no face) into shards, and shows them."""
    from cluster.demo import demonstrate
    from cluster.report.funnel import clock, funnel_lines
    from cluster.report.state import headline

    demo = demonstrate(loaded.settings, folder.absolute(), local=local, say=click.echo)
    status = demo.result.status
    for story in demo.stories:
        fates = [fate for segment in story.segments for fate in segment.seconds_by_fate.items()]
        told = ", ".join(f"{clock(seconds)} {fate}" for fate, seconds in fates)
        click.echo(f"film      {story.video.title}: {story.state}; {told or headline(story.error_text)}")
    click.echo("\n".join(["yield", *funnel_lines(status.seconds_by_fate)]))
    faults = demo.verified.faults
    click.echo(
        f"verified  {demo.verified.shards} shards, {demo.verified.samples} samples: "
        f"{'; '.join(faults) or 'all as committed'}"
    )
    click.echo(f"shards    {demo.shards_uri}")
    click.echo(f"samples   {folder / 'samples'}, unpacked; a second of face to a line in:")
    for sheet in demo.samples:
        click.echo(f"          {sheet}")
    click.echo("look      tar -tvf <shard>.tar, or webdataset.WebDataset('<shard>.tar'), or mien status")
    failed = faults or status.video_errors or status.segment_errors or not status.samples
    raise SystemExit(1 if failed else 0)
