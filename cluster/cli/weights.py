"""`mien weights`: lists and downloads model files."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import click

from mien.cluster.cli.options import echo_json, json_option, with_config

if TYPE_CHECKING:
    from mien.cluster.config import Loaded
    from mien.pipelines.weights import Weights


@click.group(epilog="Example: mien weights list")
def command() -> None:
    """Lists and downloads model files, with their licences."""


@command.command(
    name="list",
    short_help="Lists model files and their licences.",
    epilog="\b\nExample: mien weights list --set weights.licence=permissive\n"
    "Exit codes: 0 success; 2 invalid request.",
)
@with_config
@json_option
def list_(loaded: Loaded, as_json: bool) -> None:
    """Lists all model files: purpose, licence, whether they are downloaded and whether they are in use."""
    from mien.cluster.config import weights_in_use
    from mien.pipelines.weights import WEIGHTS, find, profile_allows, sha256_of

    used = weights_in_use(loaded.settings)
    rows: list[dict[str, Any]] = [
        {
            "name": weights.name,
            "purpose": weights.purpose,
            "licence": weights.licence,
            "permissive": weights.permissive,
            "allowed": profile_allows(weights.name, loaded.settings.weights.licence),
            "in_use": weights.name in used,
            "bytes": weights.bytes,
            "sha256": sha256_of(weights.name),
            "path": str(find(weights.name) or "") or None,
        }
        for weights in WEIGHTS.values()
    ]
    if as_json:
        echo_json(rows)
        return
    for row in rows:
        state = "downloaded" if row["path"] else "not downloaded"
        marks = ", ".join(
            [
                state,
                *(["in use"] if row["in_use"] else []),
                *([] if row["allowed"] else ["not allowed by weights.licence"]),
            ]
        )
        click.echo(f"{row['name']:<18} {row['bytes'] / 1e6:7.1f} MB  {marks}")
        click.echo(f"{'':<18} {row['purpose']}")
        click.echo(f"{'':<18} licence: {row['licence']}")


@command.command(
    short_help="Downloads and verifies model files.",
    epilog="\b\nExample: mien weights pull whisper-base\n"
    "Exit codes: 0 success; 1 a download failed; 2 invalid request.",
)
@click.argument("names", nargs=-1, metavar="[NAME]...")
@with_config
@click.option(
    "--licence",
    type=click.Choice(["any", "permissive"]),
    help="Download only what this licence profile allows.  [default: weights.licence]",
)
@click.option("--quiet", is_flag=True, help="Print errors only.")
@json_option
def pull(names: tuple[str, ...], loaded: Loaded, licence: str | None, quiet: bool, as_json: bool) -> None:
    """Downloads and verifies model files; by default, all that the licence profile allows."""
    from mien.pipelines.weights import WEIGHTS, check_licence, find, profile_allows
    from mien.pipelines.weights import pull as fetch
    from mien.pipelines.weights.registry import entry

    profile = licence or loaded.settings.weights.licence
    for name in names:
        entry(name)
        check_licence(name, profile)
    quiet, rows = quiet or as_json, []
    for name in names or [name for name in WEIGHTS if profile_allows(name, profile)]:
        weights, here = entry(name), find(name)
        if here is not None:
            _print(quiet, f"{name}: already downloaded, sha256 verified ({weights.licence})")
        else:
            with _Bar(weights, quiet=quiet) as bar:
                path = fetch(name, report=bar.print, progress=bar.advance)
            _print(quiet, f"{name}: {path} ({weights.licence})")
        rows.append({"name": name, "path": here or path, "licence": weights.licence, "pulled": here is None})
    if as_json:
        echo_json(rows)


@command.command(
    epilog="\b\nExample: mien weights path whisper-base\n"
    "Exit codes: 0 success; 1 the file is missing or damaged; 2 invalid request.",
)
@click.argument("name")
@with_config
@json_option
def path(name: str, loaded: Loaded, as_json: bool) -> None:
    """Prints the path of the verified model file or folder NAME."""
    from mien.pipelines.weights import locate

    found = locate(name)
    if as_json:
        echo_json({"name": name, "path": found})
    else:
        click.echo(str(found))


def _print(quiet: bool, line: str) -> None:
    if not quiet:
        click.echo(line)


class _Bar:
    """A progress bar with rate and ETA on a terminal; plain lines otherwise."""

    def __init__(self, weights: Weights, *, quiet: bool) -> None:
        self._quiet = quiet
        self._weights = weights
        self._progress: Any = None

    def __enter__(self) -> _Bar:
        if not self._quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn
            from rich.progress import TransferSpeedColumn as Speed

            columns = (
                TextColumn("{task.description}"),
                BarColumn(),
                DownloadColumn(),
                Speed(),
                TimeRemainingColumn(),
            )
            self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
            self._task = self._progress.add_task(self._weights.name, total=self._weights.bytes)
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress is not None:
            self._progress.stop()

    def print(self, line: str) -> None:
        if self._progress is not None:
            self._progress.console.print(line, markup=False, highlight=False)
        elif not self._quiet:
            click.echo(line)

    def advance(self, size: int) -> None:
        if self._progress is not None:
            self._progress.update(self._task, advance=size)
