"""`mien config`: shows the settings and their origins."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded


@click.group(epilog="Example: mien config show --set clip.min_seconds=2")
def command() -> None:
    """Shows the effective configuration and the origin of each value."""


@command.command(
    short_help="Prints every key with its value and origin.",
    epilog="\b\nExample: mien config show > effective.toml\nExit codes: 0 success; 2 invalid configuration.",
)
@with_config
@json_option
def show(loaded: Loaded, as_json: bool) -> None:
    """Prints every key, its value and its origin, as TOML that mien can read; secrets are hidden."""
    from mien.cluster.config import show

    if as_json:
        echo_json(show.as_json(loaded))
    else:
        click.echo(show.as_toml(loaded))


@command.command(
    epilog="\b\nExample: mien config fingerprint --set transcribe.beam_size=1\n"
    "Exit codes: 0 success; 2 invalid configuration.",
)
@with_config
@json_option
def fingerprint(loaded: Loaded, as_json: bool) -> None:
    """Prints the hash of all settings that affect samples."""
    from mien.cluster.config import fingerprint

    digest = fingerprint(loaded.settings)
    if as_json:
        echo_json({"fingerprint": digest})
    else:
        click.echo(digest)
