"""The keys of the configuration, from the dataclasses of its sections.

Sections are plain dataclasses, many of them stages that know nothing of pydantic. pydantic's TypeAdapter
validates them; this module answers which keys they have.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, get_origin, get_type_hints

DERIVED = "derived"
"""Metadata key of a section: the names of its fields whose values come from other sections."""


@cache
def _hints(kind: Any) -> dict[str, Any]:
    return get_type_hints(kind, include_extras=True)


def section_fields(kind: type, derived: tuple[str, ...] = ()) -> list[dataclasses.Field[Any]]:
    """The fields of the dataclass `kind` that a person may set."""
    return [each for each in dataclasses.fields(kind) if each.init and each.name not in derived]


def nested_type(owner: type, each: dataclasses.Field[Any]) -> type | None:
    """The dataclass of a field that is a table of known keys; None for a value."""
    hint = _hints(owner)[each.name]
    if hint is Any and each.default_factory is not dataclasses.MISSING:
        hint = type(each.default_factory())  # built at run time: the section of the registered annotators
    return hint if isinstance(hint, type) and dataclasses.is_dataclass(hint) else None


def known_keys(kind: type, prefix: str = "", derived: tuple[str, ...] = ()) -> Iterator[str]:
    """Every dotted key that can be set, each section before its keys."""
    for each in section_fields(kind, derived):
        yield prefix + each.name
        if (nested := nested_type(kind, each)) is not None:
            yield from known_keys(nested, f"{prefix}{each.name}.", each.metadata.get(DERIVED, ()))


def value_type(kind: type, key: str) -> Any:
    """The type hint of the value at a known dotted key."""
    name, _, rest = key.partition(".")
    each = next(each for each in dataclasses.fields(kind) if each.name == name)
    if not rest:
        return _hints(kind)[name]
    nested = nested_type(kind, each)
    assert nested is not None, key  # noqa: S101
    return value_type(nested, rest)


def free_tables(kind: type) -> set[str]:
    """The keys whose values are tables with keys of any name."""
    return {key for key in known_keys(kind) if get_origin(value_type(kind, key)) is dict}


def leaves(kind: type | None, values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys that `values` sets, unknown ones included. A table that is a value is one key."""
    fields = {each.name: each for each in dataclasses.fields(kind)} if kind is not None else {}
    for name, value in values.items():
        nested = nested_type(kind, fields[name]) if kind is not None and name in fields else None
        is_table = nested is not None or (name not in fields and bool(value))
        if is_table and isinstance(value, Mapping):
            yield from leaves(nested, value, f"{prefix}{name}.")
        else:
            yield prefix + name


def walk(section: Any, prefix: str = "", derived: tuple[str, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Every dotted key that can be set with its value."""
    for each in section_fields(type(section), derived):
        value = getattr(section, each.name)
        if nested_type(type(section), each) is not None:
            yield from walk(value, f"{prefix}{each.name}.", each.metadata.get(DERIVED, ()))
        else:
            yield prefix + each.name, value
