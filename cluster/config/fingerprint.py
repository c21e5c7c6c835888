"""The fingerprint: one hash of everything that samples depend on. "Done" means done with this fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mien.cluster.config.settings import Settings
from mien.pipelines.data import SCHEMA_VERSION
from mien.pipelines.stage import Stage
from mien.pipelines.talking_face import talking_face
from mien.pipelines.weights import WEIGHTS, check_licence, sha256_of
from mien.pipelines.weights.cache import FOLDER_VARIABLE
from mien.pipelines.weights.licences import PROFILE_VARIABLE


def fingerprint(settings: Settings) -> str:
    """32 hex digits over the stages' configuration, the hashes of their weights and the schema's version."""
    annotators = {
        annotator.name: _plain(material)
        for annotator in settings.enabled_annotators()
        if (material := annotator.fingerprint_material()) is not None
    }
    material = {
        "schema": SCHEMA_VERSION,
        "weights": {name: sha256_of(name) for name in weights_in_use(settings)},
        "clip": _plain(settings.clip),
        **{
            stage.name: _plain(stage.fingerprint_material(settings.clip))
            for stage in _stages(settings)
            if stage.affects_samples
        },
        **({"annotators": annotators} if annotators else {}),
    }
    canonical = json.dumps(material, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def weights_in_use(settings: Settings) -> tuple[str, ...]:
    """Names of the weights that a run with these settings opens."""
    return tuple(dict.fromkeys(name for stage in _stages(settings) for name in stage.weights()))


def check_licences(settings: Settings) -> None:
    """Raises ConfigError, naming the alternative, if "permissive" is set and a network is research-only."""
    for name in weights_in_use(settings):
        if name in WEIGHTS:
            check_licence(name, settings.weights.licence)


def weights_environment(settings: Settings) -> dict[str, str]:
    """The environment variables by which all processes find the weights and know the allowed licence."""
    chosen = {FOLDER_VARIABLE: settings.weights.dir, PROFILE_VARIABLE: settings.weights.licence}
    return {name: value for name, value in chosen.items() if value}


def _stages(settings: Settings) -> list[Stage]:
    return talking_face(**settings.pipeline())


def _plain(value: Any) -> Any:
    """`value` as plain JSON values."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: _plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    if isinstance(value, set | frozenset):
        return sorted(_plain(entry) for entry in value)
    return value if isinstance(value, str | int | float | bool | None) else str(value)
