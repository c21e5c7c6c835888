"""`mien status`: shows the state of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, existing_catalog, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded


@click.command(epilog="\b\nExample: mien status --json\nExit codes: 0 success; 2 there is no catalog.")
@with_config
@json_option
def command(loaded: Loaded, as_json: bool) -> None:
    """Shows what is done, what remains, what failed and why, and how many seconds each step removed."""
    import time

    from mien.cluster.report.platform_usage import acquisition_facts, acquisition_lines
    from mien.cluster.report.status import status_facts, status_lines

    store, identities = loaded.settings.store, loaded.settings.acquire.identities
    with existing_catalog(loaded) as catalog:
        usage = (catalog.media_room(with_waiting=True), catalog.egress_everywhere(identities), time.time())
        status = catalog.status()
    if as_json:
        facts = {"acquisition": acquisition_facts(status, *usage)}
        echo_json({"shards_uri": store.shards_uri, **status_facts(status), **facts})
    else:
        acquisition = acquisition_lines(status, *usage)
        click.echo("\n".join(status_lines(status, store.shards_uri, acquisition)))
