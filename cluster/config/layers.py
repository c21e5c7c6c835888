"""The three sources of settings: the file, environment variables, and flags."""

from __future__ import annotations

import difflib
import json
import os
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, is_dataclass
from pathlib import Path
from typing import Any, get_origin

from mien.cluster.config.schema import free_tables, known_keys, leaves, value_type
from mien.ingest.errors import ConfigError, one_line

FILE_NAME = "mien.toml"
FILE_VARIABLE = "MIEN_CONFIG"
PREFIX = "MIEN_"
DELIMITER = "__"

# The weights package reads these variables itself; they are short names of the same settings.
_ALIASES = {"MIEN_WEIGHTS_DIR": "weights.dir", "MIEN_WEIGHTS_LICENCE": "weights.licence"}


@dataclass(frozen=True, slots=True)
class Layer:
    kind: str
    """"file", "environment" or "flag"."""
    values: Mapping[str, Any]
    path: str = ""
    """Of the file."""

    def where(self, key: str) -> str:
        """Where a person finds the assignment of `key`."""
        if self.kind == "environment":
            return PREFIX + key.upper().replace(".", DELIMITER)
        return self.path or f"--set {key}"


def find_file(chosen: Path | None) -> Path | None:
    """--config, else $MIEN_CONFIG, else `./mien.toml`. Raises ConfigError if a named file does not exist."""
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


def environment_layer(kind: type, environment: Mapping[str, str]) -> Layer:
    """The variables `MIEN_SECTION__KEY`. A single word after `MIEN_` is not a key: other tools own those."""
    given = {name.upper(): value for name, value in environment.items() if name.upper().startswith(PREFIX)}
    assignments = {
        name[len(PREFIX) :].lower().replace(DELIMITER, "."): value
        for name, value in given.items()
        if DELIMITER in name
    }
    for alias, key in _ALIASES.items():
        if given.get(alias):
            assignments.setdefault(key, given[alias])
    return Layer("environment", _nest(kind, assignments, "environment"))


def flag_layer(kind: type, assignments: Iterable[str]) -> Layer:
    """From `--set KEY=VALUE`; values are parsed as those of the environment."""
    given: dict[str, str] = {}
    for assignment in assignments:
        key, equals, value = assignment.partition("=")
        key = key.strip().lower()
        if not equals or not key:
            raise ConfigError(
                f"--set {assignment} is not KEY=VALUE; write for example --set clip.min_seconds=2"
            )
        given[key] = value
    return Layer("flag", _nest(kind, given, "--set"))


def refuse_unknown(kind: type, layer: Layer) -> None:
    """Raises ConfigError for the first key of the layer that does not exist."""
    known, free = set(known_keys(kind)), free_tables(kind)
    for key in leaves(kind, layer.values):
        if key not in known and not any(key.startswith(f"{table}.") for table in free):
            raise unknown_key(key, known, f"{layer.kind} {layer.where(key)}")


def unknown_key(key: str, known: Iterable[str], where: str) -> ConfigError:
    settable = sorted(known)
    near = difflib.get_close_matches(key, settable, n=1, cutoff=0.6)
    hint = f"did you mean {near[0]}?" if near else "`mien config show` lists every key"
    return ConfigError(f"unknown key {key} ({where}); {hint}")


def merge(layers: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Later layers override earlier ones, key by key. Lists and tables that are values are replaced whole."""
    merged: dict[str, Any] = {}
    for layer in layers:
        for name, value in layer.items():
            old = merged.get(name)
            both = isinstance(old, Mapping) and isinstance(value, Mapping)
            merged[name] = merge([old or {}, value]) if both else value
    return merged


def _nest(kind: type, assignments: Mapping[str, str], where: str) -> dict[str, Any]:
    """Dotted keys and their texts as nested tables. pydantic converts the texts to numbers later."""
    tables: dict[str, Any] = {}
    known = set(known_keys(kind))
    for key, text in assignments.items():
        table = tables
        *parents, name = key.split(".")
        for parent in parents:
            inner = table.setdefault(parent, {})
            if not isinstance(inner, dict):
                raise ConfigError(f"{where} sets {key} inside a value; set either the table or its keys")
            table = inner
        hint = value_type(kind, key) if key in known else str
        table[name] = _parse(hint, key, text, where)
    return tables


def _parse(hint: Any, key: str, text: str, where: str) -> Any:
    """TOML or JSON for lists and tables, or a,b for a list as in a shell. Anything else stays a text."""
    origin = get_origin(hint)
    is_table = origin is dict or is_dataclass(hint)
    if not (is_table or origin in (list, tuple, set, frozenset)):
        return text
    if not text.lstrip().startswith(("[", "{")):
        return text if is_table else [part.strip() for part in text.split(",") if part.strip()]
    try:
        return json.loads(text)
    except ValueError:
        pass
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        example = "{faces = 2}" if is_table else '["a", "b"], or a,b'
        raise ConfigError(
            f"{where}: {key} is neither TOML nor JSON ({one_line(str(error))}); write for example {example}"
        ) from error
