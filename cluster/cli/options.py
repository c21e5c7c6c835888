"""What several commands share: the options for configuration and JSON output."""

from __future__ import annotations

import functools
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mien.cluster.config import Loaded
    from mien.ingest.catalog import Catalog

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def with_config(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --config and --set to a command, and passes it the loaded configuration as `loaded`.

    Also configures the logs, before the command runs.
    """

    @click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration file.  [default: $MIEN_CONFIG, or mien.toml in the current folder]",
    )
    @click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Override one key of the configuration, e.g. faces.detector=yunet_2023mar. Can be repeated.",
    )
    @functools.wraps(function)
    def wrapper(*args: Any, config_file: Path | None, assignments: tuple[str, ...], **kwargs: Any) -> Any:
        _configure_logs()
        return function(*args, loaded=load_config(config_file, assignments), **kwargs)

    return wrapper


def _configure_logs() -> None:
    from mien.cluster.logs import configure

    context = click.get_current_context(silent=True)
    options = {} if context is None else context.find_root().params
    configure(format=options.get("log_format", "text"), level=options.get("log_level", "info"))


def load_config(file: Path | None = None, assignments: tuple[str, ...] = ()) -> Loaded:
    """Loads the configuration, and exports the settings of the weights to this process and its children."""
    from mien.cluster.config import load, weights_environment

    loaded = load(file=file, flags=assignments)
    os.environ.update(weights_environment(loaded.settings))
    return loaded


def existing_catalog(loaded: Loaded) -> Catalog:
    """Opens the catalog. Raises UsageError if there is none, so that reading commands do not create one."""
    from mien.ingest.catalog import Catalog
    from mien.ingest.errors import UsageError

    store = loaded.settings.store
    if store.catalog_file is not None and not store.catalog_file.exists():
        raise UsageError(
            f"no catalog at {store.catalog_file}; create one with `mien add`, or set its folder with "
            "--set store.root=FOLDER"
        )
    return Catalog.open(store.catalog_url)


def echo_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
