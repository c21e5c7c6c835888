"""`mien verify`: checks the stored shards against the catalog."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, existing_catalog, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded


@click.command(epilog="\b\nExample: mien verify --quick\nExit codes: 0 no faults; 1 faults were found.")
@with_config
@click.option("--quick", is_flag=True, help="Check hashes and indexes only, without decoding the samples.")
@click.option(
    "--repair",
    is_flag=True,
    help="Invalidate broken and missing shards. The next `mien run` regenerates them.",
)
@json_option
def command(loaded: Loaded, quick: bool, repair: bool, as_json: bool) -> None:
    """Reads every committed shard and checks hash, index and samples; finds duplicates and stray files."""
    from mien.cluster.report.formatting import pluralize
    from mien.cluster.runner import verification

    existing_catalog(loaded).close()
    report = verification.verify(loaded.settings, deep=not quick)
    requeued = verification.repair(loaded.settings, report.broken) if repair else 0
    if as_json:
        echo_json(
            {
                "ok": not report.faults,
                "shards": report.shards,
                "samples": report.samples,
                "faults": report.faults,
                "broken": report.broken,
                "videos_waiting_again": requeued,
            }
        )
    else:
        for fault in report.faults:
            click.echo(fault)
        verdict = pluralize(len(report.faults), "fault") if report.faults else "all intact"
        shards, samples = pluralize(report.shards, "shard"), pluralize(report.samples, "sample")
        click.echo(f"{shards}, {samples}: {verdict}")
        if requeued:
            invalidated = pluralize(len(report.broken), "shard")
            click.echo(
                f"invalidated {invalidated}; the next `mien run` regenerates them "
                f"from {pluralize(requeued, 'video')}"
            )
    raise SystemExit(1 if report.faults else 0)
