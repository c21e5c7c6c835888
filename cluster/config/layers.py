"""What a person has set, by where: the file, the environment over it, flags over that."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, EnvSettingsSource
from pydantic_settings.exceptions import SettingsError

from mien.cluster.config.mirror import known_keys, leaves
from mien.ingest.errors import ConfigError, one_line

FILE_NAME = "mien.toml"
FILE_VARIABLE = "MIEN_CONFIG"
PREFIX = "MIEN_"
DELIMITER = "__"

# What the library below reads by itself are the same settings under a shorter name.
_ALIASES = {"MIEN_WEIGHTS_DIR": "weights.dir", "MIEN_WEIGHTS_LICENCE": "weights.licence"}


@dataclass(frozen=True, slots=True)
class Layer:
    kind: str
    """"file", "environment" or "flag"."""
    values: Mapping[str, Any]
    path: str = ""
    """Of the file."""

    def where(self, key: str) -> str:
        """The place where `key` was set, as a person would look for it."""
        if self.kind == "environment":
            return PREFIX + key.upper().replace(".", DELIMITER)
        return self.path or f"--set {key}"


def find_file(chosen: Path | None) -> Path | None:
    """--config, else $MIEN_CONFIG, else `mien.toml` here. Raises ConfigError where a named one is absent."""
    named = chosen or (Path(os.environ[FILE_VARIABLE]) if os.environ.get(FILE_VARIABLE) else None)
    if named is not None:
        if not named.is_file():
            raise ConfigError(f"no configuration file {named}; correct --config or ${FILE_VARIABLE}")
        return named
    here = Path(FILE_NAME)
    return here if here.is_file() else None


def file_layer(path: Path) -> Layer:
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError, OSError) as error:
        raise ConfigError(f"{path} is not readable TOML: {one_line(str(error))}; correct it") from error
    return Layer("file", values, str(path))


def environment_layer(model: type[BaseSettings], environment: Mapping[str, str]) -> Layer:
    known = set(known_keys(model))
    given = {name: value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    for name in given:
        key = name.upper()[len(PREFIX) :].lower().replace(DELIMITER, ".")
        if DELIMITER in name and key.split(".")[0] not in known:
            raise unknown_key(key, known, f"environment {name}")
    for alias, key in _ALIASES.items():
        if given.get(alias):
            given.setdefault(PREFIX + key.upper().replace(".", DELIMITER), given[alias])
    return Layer("environment", _parse(model, given, "environment"))


def flag_layer(model: type[BaseSettings], assignments: Iterable[str]) -> Layer:
    """From `--set KEY=VALUE`; values are read as the environment's are."""
    known = set(known_keys(model))
    given: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        key = key.strip()
        if not equals or not key:
            raise ConfigError(
                f"--set {assignment} is not KEY=VALUE; write for example --set clip.min_seconds=2"
            )
        if key.split(".")[0] not in known:
            raise unknown_key(key, known, "--set")
        given[PREFIX + key.upper().replace(".", DELIMITER)] = value
    return Layer("flag", _parse(model, given, "--set"))


def refuse_unknown(model: type[BaseModel], layer: Layer) -> None:
    """Raises ConfigError for the first key of the layer that the model does not know."""
    known = set(known_keys(model))
    free = {name for name in known if _is_table(model, name)}
    for key in leaves(model, layer.values):
        if key not in known and not any(key.startswith(f"{table}.") for table in free):
            raise unknown_key(key, known, f"{layer.kind} {layer.where(key)}")


def unknown_key(key: str, known: Iterable[str], where: str) -> ConfigError:
    settable = sorted(known)
    near = difflib.get_close_matches(key, settable, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "`mien config show` lists every key"
    return ConfigError(f"unknown key {key} ({where}); {hint}")


def merge(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Later layers win, key by key; whole values (lists, tables that are values) are replaced."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            old = merged.get(name)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            merged[name] = merge([old or {}, value]) if both else value
    return merged


class _Variables(EnvSettingsSource):
    """pydantic-settings' own reading of variables, from a mapping that is given."""

    def __init__(self, model: type[BaseSettings], given: Mapping[str, str]) -> None:
        self._given = {name.lower(): value for name, value in given.items()}
        super().__init__(model, case_sensitive=False, env_prefix=PREFIX, env_nested_delimiter=DELIMITER)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return self._given

    def decode_complex_value(self, field_name: str, field: FieldInfo, value: Any) -> Any:
        """A list may also be written a,b as one would at a shell."""
        if isinstance(value, str) and not value.lstrip().startswith(("[", "{")):
            return [part.strip() for part in value.split(",") if part.strip()]
        return super().decode_complex_value(field_name, field, value)


def _parse(model: type[BaseSettings], given: Mapping[str, str], where: str) -> dict[str, Any]:
    try:
        return _Variables(model, given)()
    except (SettingsError, ValueError) as error:
        raise ConfigError(
            f"{where} cannot be read: {one_line(str(error))}; give JSON, or a,b for a list"
        ) from error


def _is_table(model: type[BaseModel], key: str) -> bool:
    """Whether the key's value is a table with free keys."""
    annotation: Any = model
    for name in key.split("."):
        annotation = annotation.model_fields[name].annotation
    return getattr(annotation, "__origin__", None) is dict
