"""Reads the configuration: defaults, `mien.toml`, environment, flags; each over the one before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from mien.cluster.config.layers import (
    Layer,
    environment_layer,
    file_layer,
    find_file,
    flag_layer,
    merge,
    refuse_unknown,
)
from mien.cluster.config.mirror import build, leaves
from mien.cluster.config.settings import Settings, connect, settings_model
from mien.ingest.errors import ConfigError, one_line
from mien.ingest.rate.identity import HIDDEN


@dataclass(frozen=True, slots=True)
class Origin:
    kind: str = "default"
    """"default", "file", "environment" or "flag"."""
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings, and for each key that somebody set, where."""

    settings: Settings
    model: BaseModel
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def origin(self, key: str) -> Origin:
        return self.origins.get(key, Origin())


def load(
    *,
    file: Path | None = None,
    flags: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """The effective configuration; `file` None looks at $MIEN_CONFIG and then for `mien.toml` here.

    Raises ConfigError, naming the key and where it was set, for an unknown key or a value of the wrong
    kind, and for a file that cannot be read.
    """
    layers: list[Layer] = []
    model_type = settings_model()
    path = find_file(file)
    if path is not None:
        layers.append(file_layer(path))
    layers.append(environment_layer(model_type, os.environ if environment is None else environment))
    layers.append(flag_layer(model_type, flags))
    origins: dict[str, Origin] = {}
    for layer in layers:
        refuse_unknown(model_type, layer)
        for key in leaves(model_type, layer.values):
            origins[key] = Origin(layer.kind, layer.where(key))
    try:
        model = model_type(**merge(layer.values for layer in layers))
    except ValidationError as error:
        raise _config_error(error, origins) from error
    return Loaded(settings=connect(_build(model, origins)), model=model, origins=origins)


def _build(model: BaseModel, origins: Mapping[str, Origin]) -> Settings:
    sections: dict[str, Any] = {}
    kinds = Settings.__dataclass_fields__
    for name in type(model).model_fields:
        try:
            default = kinds[name].default_factory
            sections[name] = build(type(default()), getattr(model, name))  # type: ignore[operator]
        except (TypeError, ValueError) as error:
            places = sorted({o.where for key, o in origins.items() if key.startswith(f"{name}.")})
            raise ConfigError(
                f"[{name}] {one_line(str(error))} (from {', '.join(places) or 'default'})"
            ) from error
    return Settings(**sections)


def _config_error(error: ValidationError, origins: Mapping[str, Origin]) -> ConfigError:
    errors = error.errors(include_url=False)
    first = errors[0]
    loc = [str(part) for part in first["loc"]]
    key, origin = ".".join(loc), Origin()
    # A location goes deeper than a key where the value is a list, a table or one of several kinds.
    for depth in range(len(loc), 0, -1):
        candidate = ".".join(loc[:depth])
        if candidate in origins:
            key, origin = candidate, origins[candidate]
            break
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    # What was written there by mistake may be a token or a password.
    secret = loc[:2] in (["acquire", "identities"], ["acquire", "ytdlp_options"])
    key = ".".join(loc) if secret else key
    got = HIDDEN if secret else one_line(repr(first["input"]), 80)
    return ConfigError(
        f"{key}: {one_line(first['msg']).lower()}, got {got} "
        f"(from {origin.kind} {origin.where}){more}; correct it, or see `mien config show`"
    )
