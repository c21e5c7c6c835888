"""`mien run`: the work itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded

EXIT_WITH_FAILURES = 3
EXIT_BY_SIGNAL = 128


@click.command(
    epilog="\b\nExample: mien run --local --set clip.require=face\n"
    "Exit codes: 0 all done; 3 done as far as it goes, and some videos or segments failed, or wait\n"
    "for another try or for a platform (mien status names them); 1 stopped by an error, 2 impossible\n"
    "as asked, 130 or 143 stopped by SIGINT or SIGTERM: what was committed stays, run again to go on.\n"
    "The first signal commits what waits for a shard and breaks off the rest, transfers as well: the next\n"
    "run does it again; of what was being transferred, 16 MiB at most where its server can tell that it is\n"
    "the same file still (--local ends the one it is at). The second ends at once. What another run is at\n"
    "work on is left to it. With videos of a platform waiting, a run that has nothing else to do stays\n"
    "until they may be asked for; --set acquire.wait=false ends it instead."
)
@with_config
@click.option("--local", is_flag=True, help="One process, one item after the other, no Ray: for debugging.")
@click.option(
    "--only",
    type=click.Choice(["fetch"]),
    help="Fetch and prove media, and leave the rest; without Ray, unless --address names a cluster.",
)
@click.option("--address", help="Of a running Ray cluster.  [default: engine.address, else one here]")
@json_option
def command(loaded: Loaded, local: bool, only: str | None, address: str | None, as_json: bool) -> None:
    """Turns the catalog's videos into shards, until all are done; begins where a killed run ended."""
    import dataclasses
    import time

    from mien.cluster.report.platform_usage import acquisition_facts, acquisition_lines
    from mien.cluster.report.progress import ProgressBar
    from mien.cluster.report.status import result_lines, signal_name, status_facts
    from mien.cluster.runner.run import run

    settings = loaded.settings
    if address:
        settings = dataclasses.replace(settings, engine=dataclasses.replace(settings.engine, address=address))
    only_fetch = only == "fetch"
    with ProgressBar(only_fetch=only_fetch) as bar:
        result = run(settings, local=local, only_fetch=only_fetch, on_progress=bar.update)
    asked = (result.room, result.egress, time.time())
    facts = {
        "run": result.run_id,
        "seconds": round(result.seconds, 1),
        "stopped_by": signal_name(result),
        "shards_uri": settings.store.shards_uri,
        "left_alone": result.other_fingerprint_videos,
        **status_facts(result.status),
        "acquisition": acquisition_facts(result.status, *asked),
    }
    if as_json or not sys.stdout.isatty():
        echo_json(facts)
    else:
        acquisition = acquisition_lines(result.status, *asked)
        click.echo("\n".join(result_lines(result, settings.store.shards_uri, acquisition)))
    if result.signal is not None:
        raise SystemExit(EXIT_BY_SIGNAL + result.signal)
    # Fetched and not cut yet is all that was asked for.
    waits = 0 if only_fetch else sum(result.status.rate_limited.values())
    if result.status.video_errors or result.status.segment_errors or waits:
        raise SystemExit(EXIT_WITH_FAILURES)
