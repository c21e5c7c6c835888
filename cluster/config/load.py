"""Loads the configuration: defaults, `mien.toml`, environment, flags. Each overrides the one before."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from mien.cluster.config.layers import (
    Layer,
    environment_layer,
    file_layer,
    find_file,
    flag_layer,
    merge,
    refuse_unknown,
)
from mien.cluster.config.schema import leaves
from mien.cluster.config.settings import Settings, connect
from mien.ingest.errors import ConfigError, MienError, one_line
from mien.ingest.rate.identity import HIDDEN


@dataclass(frozen=True, slots=True)
class Origin:
    kind: str = "default"
    """"default", "file", "environment" or "flag"."""
    where: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """The settings, and the origin of each key that is set."""

    settings: Settings
    declared: Settings
    """The settings as they were set, before `connect` copies values between sections."""
    origins: Mapping[str, Origin] = field(default_factory=dict)

    def origin(self, key: str) -> Origin:
        return self.origins.get(key, Origin())


def load(
    *,
    file: Path | None = None,
    flags: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
) -> Loaded:
    """The effective configuration. Without `file`, $MIEN_CONFIG or else `./mien.toml` is used, if any.

    Raises:
        ConfigError: a key is unknown, a value has the wrong type, or a file cannot be read. The message
            names the key and its origin.
    """
    layers: list[Layer] = []
    path = find_file(file)
    if path is not None:
        layers.append(file_layer(path))
    layers.append(environment_layer(Settings, os.environ if environment is None else environment))
    layers.append(flag_layer(Settings, flags))
    origins: dict[str, Origin] = {}
    for layer in layers:
        refuse_unknown(Settings, layer)
        for key in leaves(Settings, layer.values):
            origins[key] = Origin(layer.kind, layer.where(key))
    declared = _validate(merge(layer.values for layer in layers), origins)
    return Loaded(settings=connect(declared), declared=declared, origins=origins)


def _validate(values: Mapping[str, Any], origins: Mapping[str, Origin]) -> Settings:
    """Each section by its own TypeAdapter: the section of annotators is a type built at run time."""
    sections: dict[str, Any] = {}
    for name, section in vars(Settings()).items():
        kind: Any = type(section)
        try:
            sections[name] = _adapter(kind).validate_python(values.get(name, {}))
        except ValidationError as error:
            raise _config_error(name, error, origins) from error
        except MienError as error:  # a stage's own check
            raise ConfigError(f"[{name}] {one_line(str(error))} ({_places(name, origins)})") from error
    return Settings(**sections)


@cache
def _adapter(kind: Any) -> TypeAdapter[Any]:
    return TypeAdapter(kind)


def _places(section: str, origins: Mapping[str, Origin]) -> str:
    found = sorted({origin.where for key, origin in origins.items() if key.startswith(f"{section}.")})
    return f"from {', '.join(found) or 'default'}"


def _config_error(section: str, error: ValidationError, origins: Mapping[str, Origin]) -> ConfigError:
    errors = error.errors(include_url=False)
    first = errors[0]
    loc = [section, *(str(part) for part in first["loc"])]
    if len(loc) == 1 and first["type"] == "value_error":  # a check of several values together
        reason = one_line(str(first["ctx"]["error"]))
        return ConfigError(f"[{section}] {reason} ({_places(section, origins)})")
    key, origin = ".".join(loc), Origin()
    # The location is longer than the key if the value is a list, a table or a union.
    for depth in range(len(loc), 0, -1):
        candidate = ".".join(loc[:depth])
        if candidate in origins:
            key, origin = candidate, origins[candidate]
            break
    more = f"; and {len(errors) - 1} more" if len(errors) > 1 else ""
    # The rejected value may be a token or a password.
    secret = loc[:2] in (["acquire", "identities"], ["acquire", "ytdlp_options"], ["store", "catalog"])
    key = ".".join(loc) if secret else key
    got = HIDDEN if secret else one_line(repr(first["input"]), 80)
    reason = (
        "input should be a table" if first["type"] == "dataclass_type" else one_line(first["msg"]).lower()
    )
    return ConfigError(
        f"{key}: {reason}, got {got} "
        f"(from {origin.kind} {origin.where}){more}; correct it, or see `mien config show`"
    )
