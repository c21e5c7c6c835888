"""`mien retry`: another chance for what failed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from cluster.cli.options import with_config

if TYPE_CHECKING:
    from cluster.config import Loaded


@click.command(epilog="Example: mien retry --class DeadlineExceededError")
@click.option("--class", "error_class", help="Class of the failure, as `mien status` names it.")
@click.option("--id", "key", help="Key of one video.")
@click.option("--all", "everything", is_flag=True, help="Everything that failed.")
@click.option("--identity", help="End the pause of an egress identity, once its cause is gone.")
@with_config
def command(
    error_class: str | None, key: str | None, everything: bool, identity: str | None, loaded: Loaded
) -> None:
    """Puts failed videos back into the queue, by class of failure; `mien run` tries them again."""
    import contextlib

    from ingest.catalog import Catalog
    from ingest.errors import UsageError

    if not (error_class or key or everything or identity):
        raise UsageError("say what to retry: --class NAME, --id KEY, --identity NAME or --all")
    with contextlib.closing(Catalog.open(loaded.settings.store.catalog_url)) as catalog:
        if identity:
            if not catalog.reopen(identity):
                raise UsageError(f"no identity {identity} is paused; `mien status` names those that are")
            click.echo(f"identity {identity} may be asked through again")
        if not (error_class or key or everything):
            return
        known = catalog.error_classes()
        if error_class and error_class not in known:
            there = ", ".join(f"{name} ({count})" for name, count in known.items()) or "nothing"
            raise UsageError(f"nothing failed as {error_class}; what failed: {there}")
        count = catalog.retry(error_class=error_class, key=key)
    click.echo(f"{count} videos are waiting again")
