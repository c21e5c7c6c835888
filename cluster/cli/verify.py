"""`mien verify`: is what was committed still what is there?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, existing_catalog, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded


@click.command(
    epilog="\b\nExample: mien verify --quick\nExit codes: 0 everything is as committed; 1 something is not."
)
@with_config
@click.option("--quick", is_flag=True, help="Hashes and indexes only; do not decode every member.")
@click.option(
    "--repair",
    is_flag=True,
    help="Take broken and missing shards back: the next `mien run` makes their samples again.",
)
@json_option
def command(loaded: Loaded, quick: bool, repair: bool, as_json: bool) -> None:
    """Reads every committed shard back: hash, index, each member decoded, no key twice, no file too many."""
    from mien.cluster.runner import verification

    existing_catalog(loaded).close()
    report = verification.verify(loaded.settings, deep=not quick)
    again = verification.repair(loaded.settings, report.broken) if repair else 0
    if as_json:
        echo_json(
            {
                "ok": not report.faults,
                "shards": report.shards,
                "samples": report.samples,
                "faults": report.faults,
                "broken": report.broken,
                "videos_waiting_again": again,
            }
        )
    else:
        for fault in report.faults:
            click.echo(fault)
        verdict = f"{len(report.faults)} faults" if report.faults else "all as committed"
        click.echo(f"{report.shards} shards, {report.samples} samples: {verdict}")
        if again:
            click.echo(f"{len(report.broken)} shards taken back: {again} videos wait for `mien run`")
    raise SystemExit(1 if report.faults else 0)
