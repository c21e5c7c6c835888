"""Shows the effective configuration as TOML that can be loaded again, or as JSON."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from mien.cluster.config.load import Loaded
from mien.cluster.config.schema import walk
from mien.ingest.rate.identity import Identity

HIDDEN = "***"
# From the first colon after the user to the last @ before the host: passwords may contain any character.
_PASSWORD = re.compile(r"(://[^/:@]*:).*(?=@)")
_SECRET = re.compile(
    r"((?:^|[?&])[^=&]*(?:password|secret|token|key|signature|credential)[^=&]*=)[^&]*", re.IGNORECASE
)
# Keys of a free table, such as the options of yt-dlp. A cookies *file* is a path, not a secret.
_SECRET_KEY = re.compile(
    r"passw|secret|token|username|authorization|cookie(?!s?_?file)|(^|_)key$", re.IGNORECASE
)


def redact(value: Any) -> Any:
    """`value` as plain values. Passwords and tokens are hidden in addresses and in tables at any depth."""
    if isinstance(value, Identity):
        value = value.redacted
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {key: _redact_entry(str(key), entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [redact(each) for each in value]
    if not isinstance(value, str) or "://" not in value:
        return value
    address, mark, query = _PASSWORD.sub(rf"\1{HIDDEN}", value).partition("?")
    return address + mark + _SECRET.sub(rf"\1{HIDDEN}", query)


def _redact_entry(key: str, entry: Any) -> Any:
    if isinstance(entry, str) and entry and _SECRET_KEY.search(key):
        return HIDDEN
    return redact(entry)


def rows(loaded: Loaded) -> Iterator[tuple[str, Any]]:
    """Every dotted key with its effective value and hidden secrets, in the order of the sections."""
    yield from ((key, redact(value)) for key, value in walk(loaded.declared))


def as_toml(loaded: Loaded) -> str:
    """One section after the other, with the origin after each value. None is written as a comment."""
    values = dict(rows(loaded))
    lines: list[str] = []
    section = ""
    for key in _grouped(values):
        table, _, name = key.rpartition(".")
        if table != section:
            lines += ["", f"[{table}]"] if lines else [f"[{table}]"]
            section = table
        origin = loaded.origin(key)
        source = f"{origin.kind} {origin.where}".strip()
        value = values[key]
        line = f"# {name} is not set" if value is None else f"{name} = {_toml(value)}"
        lines.append(f"{line}  # {source}")
    return "\n".join(lines)


def as_json(loaded: Loaded) -> dict[str, Any]:
    """{key: {value, from, where}}"""
    return {
        key: {"value": value, "from": loaded.origin(key).kind, "where": loaded.origin(key).where}
        for key, value in rows(loaded)
    }


def _grouped(keys: Mapping[str, Any]) -> list[str]:
    """Keys by section. TOML requires the values of a section before its sub-tables."""
    sections = list(dict.fromkeys(key.partition(".")[0] for key in keys))
    return sorted(keys, key=lambda key: (sections.index(key.partition(".")[0]), key.count(".")))


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        inside = ", ".join(
            f"{json.dumps(str(k), ensure_ascii=False)} = {_toml(v)}"
            for k, v in value.items()
            if v is not None
        )
        return f"{{ {inside} }}" if inside else "{}"
    if isinstance(value, list | tuple | set | frozenset):
        return f"[{', '.join(_toml(each) for each in value)}]"
    if isinstance(value, bool | int | float):
        return str(value).lower() if isinstance(value, bool) else repr(value)
    return json.dumps(str(value), ensure_ascii=False)
