"""Turns a stdlib dataclass into a pydantic model that refuses unknown keys, and back.

Stages are plain dataclasses that know nothing of pydantic; this is the one place where both meet.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, Field, create_model

HIDE = "hide"
"""Metadata key of a section's field: names of the section's own fields that a person does not set."""

_STRICT = ConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())


def model_of(kind: type, *, base: type[BaseModel] | None = None, hide: frozenset[str] = frozenset()) -> Any:
    """The pydantic model class that mirrors the dataclass `kind`, its nested dataclasses included."""
    hints = get_type_hints(kind, include_extras=True)
    fields: dict[str, Any] = {}
    for field in visible_fields(kind, hide):
        hint = hints[field.name]
        if hint is Any and dataclasses.is_dataclass(default := _default(field)):
            hint = type(default)
        if dataclasses.is_dataclass(hint) and isinstance(hint, type):
            nested = model_of(hint, hide=frozenset(field.metadata.get(HIDE, ())))
            default = _default(field)
            shown = {each.name for each in visible_fields(hint, frozenset(field.metadata.get(HIDE, ())))}
            values = {k: v for k, v in dataclasses.asdict(default).items() if k in shown}
            fields[field.name] = (nested, Field(default_factory=lambda n=nested, v=values: n(**v)))
        elif field.default is not dataclasses.MISSING:
            fields[field.name] = (hint, field.default)
        elif field.default_factory is not dataclasses.MISSING:
            fields[field.name] = (hint, Field(default_factory=field.default_factory))
        else:
            fields[field.name] = (hint, ...)
    if base is not None:
        return create_model(kind.__name__, __base__=base, **fields)
    return create_model(kind.__name__, __config__=_STRICT, **fields)


def build(kind: type[Any], model: BaseModel) -> Any:
    """The instance of `kind` that has the model's values; fields that are hidden keep their defaults."""
    hints = get_type_hints(kind)
    values = {}
    for name in type(model).model_fields:
        value = getattr(model, name)
        values[name] = build(hints[name], value) if isinstance(value, BaseModel) else value
    return kind(**values)


def visible_fields(kind: Any, hide: frozenset[str] = frozenset()) -> list[dataclasses.Field[Any]]:
    return [
        field
        for field in dataclasses.fields(kind)
        if field.init and field.name not in hide and not field.name.startswith("_")
    ]


def known_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key that the model knows, sections before what is in them."""
    for name, info in model.model_fields.items():
        yield prefix + name
        if isinstance(info.annotation, type) and issubclass(info.annotation, BaseModel):
            yield from known_keys(info.annotation, f"{prefix}{name}.")


def leaves(model: type[BaseModel], layer: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """The dotted keys that `layer` sets, unknown ones included; a table that is a value counts as one."""
    for name, value in layer.items():
        info = model.model_fields.get(name)
        nested = info.annotation if info is not None else None
        if isinstance(value, Mapping) and isinstance(nested, type) and issubclass(nested, BaseModel):
            yield from leaves(nested, value, f"{prefix}{name}.")
        elif isinstance(value, Mapping) and value and info is None:
            yield from (f"{prefix}{name}.{inner}" for inner in value)
        else:
            yield prefix + name


def _default(field: dataclasses.Field[Any]) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise TypeError(f"section {field.name} has no default")
