"""`mien demo`: runs the whole pipeline on three short films."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded
    from mien.cluster.demo import DemoResult
    from mien.ingest.catalog import VideoHistory


@click.command(
    epilog="\b\nExample: mien demo --folder /tmp/demo\n"
    "Exit codes: 0 success; 1 a film failed, there are no samples, or a shard is not intact."
)
@click.option(
    "--folder",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("mien-demo"),
    show_default=True,
    help="Folder for films, shards and unpacked samples. An earlier demo in it is replaced.",
)
@click.option("--local", is_flag=True, help="Run in this process, without Ray.")
@with_config
@json_option
def command(folder: Path, local: bool, loaded: Loaded, as_json: bool) -> None:
    """Turns three short films (one talking, one silent, one without a face) into shards and shows them."""
    from mien.cluster.demo import run_demo

    def report(line: str) -> None:
        click.echo(line, err=as_json)

    demo = run_demo(loaded.settings, folder.absolute(), local=local, report=report)
    if as_json:
        echo_json(_facts(demo))
    else:
        click.echo("\n".join(_lines(demo, folder)))
    status = demo.result.status
    failed = demo.verified.faults or status.video_errors or status.segment_errors or not status.samples
    raise SystemExit(1 if failed else 0)


def _facts(demo: DemoResult) -> dict[str, Any]:
    from mien.cluster.report.status import status_facts

    return {
        "films": [_film(history) for history in demo.histories],
        **status_facts(demo.result.status),
        "faults": demo.verified.faults,
        "shards_uri": demo.shards_uri,
        "unpacked": demo.samples,
    }


def _film(history: VideoHistory) -> dict[str, Any]:
    fates: dict[str, float] = {}
    for segment in history.segments:
        for fate, seconds in segment.seconds_by_fate.items():
            fates[fate] = fates.get(fate, 0.0) + seconds
    return {
        "title": history.video.title,
        "state": history.state,
        "seconds_by_fate": fates,
        "error_class": history.error_class,
        "error_text": history.error_text,
    }


def _lines(demo: DemoResult, folder: Path) -> Iterator[str]:
    from mien.cluster.report.formatting import format_duration, pluralize
    from mien.cluster.report.funnel import funnel_lines
    from mien.cluster.report.status import headline

    for history in demo.histories:
        fates = [fate for segment in history.segments for fate in segment.seconds_by_fate.items()]
        outcome = ", ".join(f"{format_duration(seconds)} {fate}" for fate, seconds in fates)
        yield f"film      {history.video.title}: {history.state}; {outcome or headline(history.error_text)}"
    yield "yield"
    yield from funnel_lines(demo.result.status.seconds_by_fate)
    verdict = "; ".join(demo.verified.faults) or "all intact"
    shards, samples = pluralize(demo.verified.shards, "shard"), pluralize(demo.verified.samples, "sample")
    yield f"verified  {shards}, {samples}: {verdict}"
    yield f"shards    {demo.shards_uri}"
    yield f"samples   {folder / 'samples'}, unpacked. Contact sheets, one second per line:"
    yield from (f"          {sheet}" for sheet in demo.samples)
    yield "next      mien shards show KEY, tar -tvf SHARD.tar, or webdataset.WebDataset('SHARD.tar')"
