"""`mien run`: turns the videos in the catalog into shards."""

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
    "Exit codes: 0 all done; 1 stopped by an error; 2 invalid request; 3 finished, but some videos or\n"
    "segments failed or are still waiting (see `mien status`); 130 or 143 stopped by SIGINT or SIGTERM.\n"
    "\n"
    "\b\n"
    "Rerun the command to resume after a stop or an error: committed shards are never lost.\n"
    "Videos claimed by other runs are skipped.\n"
    "The first SIGINT or SIGTERM commits the finished samples and aborts the rest, including downloads.\n"
    "If the server confirms that the file is unchanged, an aborted download is resumed later.\n"
    "With --local, the current item is finished first. A second signal ends the run at once.\n"
    "If only videos from platforms remain and their budget is used up, the run waits until it allows\n"
    "more; --set acquire.wait=false ends the run instead."
)
@with_config
@click.option(
    "--local",
    is_flag=True,
    help="For debugging: process one item at a time without Ray, deadlines or memory limits.",
)
@click.option(
    "--only",
    type=click.Choice(["fetch"]),
    help="Download and validate media only. Ray is used only if --address names a cluster.",
)
@click.option(
    "--address", help="Address of a running Ray cluster.  [default: engine.address, or a local cluster]"
)
@json_option
def command(loaded: Loaded, local: bool, only: str | None, address: str | None, as_json: bool) -> None:
    """Turns the videos in the catalog into shards, and resumes interrupted runs."""
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
    usage = (result.room, result.egress, time.time())
    facts = {
        "run": result.run_id,
        "seconds": round(result.seconds, 1),
        "stopped_by": signal_name(result),
        "shards_uri": settings.store.shards_uri,
        "left_alone": result.other_fingerprint_videos,
        **status_facts(result.status),
        "acquisition": acquisition_facts(result.status, *usage),
    }
    if as_json or not sys.stdout.isatty():
        echo_json(facts)
    else:
        acquisition = acquisition_lines(result.status, *usage)
        click.echo("\n".join(result_lines(result, settings.store.shards_uri, acquisition)))
    if result.signal is not None:
        raise SystemExit(EXIT_BY_SIGNAL + result.signal)
    # With --only fetch, videos that are fetched but not processed are the expected outcome.
    waits = 0 if only_fetch else sum(result.status.rate_limited.values())
    if result.status.video_errors or result.status.segment_errors or waits:
        raise SystemExit(EXIT_WITH_FAILURES)
