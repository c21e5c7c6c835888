"""What outputs depend on, as one hash: "done" means done with this fingerprint."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from typing import Any

from mien.cluster.config.settings import Settings
from mien.pipelines.data import SCHEMA_VERSION
from mien.pipelines.speech.split import VAD_WEIGHTS
from mien.pipelines.weights import WEIGHTS, check_licence, sha256_of
from mien.pipelines.weights.licences import PROFILE_VARIABLE
from mien.pipelines.weights.local import FOLDER_VARIABLE

# Where things lie, how shards are packed, and how the run is driven change no sample.
_SECTIONS = ("clip", "split", "faces", "transcribe", "align")
ARCFACE = "arcface_w600k_mbf"
_IMMATERIAL = frozenset({"resources", "fingerprint", "threads", "local_media"})


def fingerprint(settings: Settings) -> str:
    """32 hex digits over the stages' configuration, their weights' hashes and the schema's version."""
    material = {
        "schema": SCHEMA_VERSION,
        "weights": {name: sha256_of(name) for name in weights_in_use(settings)},
        **{name: _material(getattr(settings, name)) for name in _SECTIONS if _matters(name, settings)},
    }
    canonical = json.dumps(material, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()[:32]


def weights_in_use(settings: Settings) -> tuple[str, ...]:
    """Names of the weights that a run with these settings opens."""
    # Speech is looked for even where it is not required: what is said is written down with every clip.
    names = [VAD_WEIGHTS, settings.transcribe.model]
    if "face" in settings.clip.require:
        names += [settings.faces.detector, *([ARCFACE] if settings.faces.identity else [])]
    return tuple(names)


def check_licences(settings: Settings) -> None:
    """Raises ConfigError, naming the alternative, where a research-only network meets "permissive"."""
    for name in weights_in_use(settings):
        if name in WEIGHTS:
            check_licence(name, settings.weights.licence)


def weights_environment(settings: Settings) -> dict[str, str]:
    """The variables by which every process of a run finds the weights and keeps to their licence."""
    chosen = {FOLDER_VARIABLE: settings.weights.dir, PROFILE_VARIABLE: settings.weights.licence}
    return {name: value for name, value in chosen.items() if value}


def _matters(section: str, settings: Settings) -> bool:
    """What is not looked for is not configured either."""
    return section != "faces" or "face" in settings.clip.require


def _material(section: Any) -> Any:
    if dataclasses.is_dataclass(section):
        return {
            field.name: _material(getattr(section, field.name))
            for field in dataclasses.fields(section)
            if field.init and field.name not in _IMMATERIAL
        }
    if isinstance(section, Mapping):
        return {str(key): _material(value) for key, value in section.items()}
    if isinstance(section, list | tuple):
        return [_material(value) for value in section]
    if isinstance(section, set | frozenset):
        return sorted(_material(value) for value in section)
    return section if isinstance(section, str | int | float | bool | None) else str(section)
