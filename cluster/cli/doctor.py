"""`mien doctor`: checks this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded
    from mien.cluster.doctor import Check

_COLOURS = {"ok": "green", "warn": "yellow", "fail": "red"}


@click.command(
    epilog="\b\nExample: mien doctor --set transcribe.device=cuda\n"
    "Exit codes: 0 no check failed (there may be warnings); 1 a check failed; 2 invalid configuration."
)
@with_config
@json_option
def command(loaded: Loaded, as_json: bool) -> None:
    """Checks that this machine can run the current configuration, and says how to fix what is missing."""
    from mien.cluster.doctor import CheckStatus, examine
    from mien.cluster.report.formatting import pluralize

    found: list[Check] = []
    for check in examine(loaded.settings):
        found.append(check)
        if not as_json:
            fix = f" → {check.fix}" if check.fix else ""
            mark = click.style(f"{check.status.value:<4}", fg=_COLOURS[check.status.value])
            click.echo(f"{mark}  {check.name}: {check.message}{fix}")
    failed = sum(check.status is CheckStatus.FAIL for check in found)
    warned = sum(check.status is CheckStatus.WARN for check in found)
    if as_json:
        rows = [
            {"name": each.name, "status": each.status.value, "message": each.message, "cure": each.fix}
            for each in found
        ]
        echo_json({"ok": not failed, "failed": failed, "warnings": warned, "checks": rows})
    else:
        click.echo(f"{pluralize(len(found), 'check')}: {failed} failed, {pluralize(warned, 'warning')}")
    raise SystemExit(1 if failed else 0)
