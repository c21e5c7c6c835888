"""What several commands share: the configuration's options, and JSON for programs."""

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

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")


def with_config(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds --config and --set to a command, which gets the result as `loaded` (cluster.config.Loaded)."""

    @click.option(
        "--config",
        "config_file",
        type=click.Path(path_type=Path, dir_okay=False),
        help="Configuration file.  [default: $MIEN_CONFIG, else mien.toml here]",
    )
    @click.option(
        "--set",
        "assignments",
        multiple=True,
        metavar="KEY=VALUE",
        help="Set one key over file and environment, as faces.detector=yunet_2023mar; may be repeated.",
    )
    @functools.wraps(function)
    def wrapper(*args: Any, config_file: Path | None, assignments: tuple[str, ...], **kwargs: Any) -> Any:
        return function(*args, loaded=load_config(config_file, assignments), **kwargs)

    return wrapper


def load_config(file: Path | None = None, assignments: tuple[str, ...] = ()) -> Loaded:
    """Loads the configuration and lets this process, and those it starts, see its weights' settings."""
    from mien.cluster.config import load, weights_environment

    loaded = load(file=file, flags=assignments)
    os.environ.update(weights_environment(loaded.settings))
    return loaded


def existing_catalog(loaded: Loaded) -> Catalog:
    """The catalog; UsageError where there is none, for looking at nothing must not make one."""
    from mien.ingest.catalog import Catalog
    from mien.ingest.errors import UsageError

    store = loaded.settings.store
    if store.catalog_file is not None and not store.catalog_file.exists():
        raise UsageError(
            f"no catalog at {store.catalog_file}; make one with `mien add`, or say where it is: "
            "--set store.root=FOLDER"
        )
    return Catalog.open(store.catalog_url)


def echo_json(value: Any) -> None:
    click.echo(json.dumps(value, indent=2, ensure_ascii=False, default=str))
