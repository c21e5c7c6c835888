"""Everything that can be set, as one typed value. A new section is one new line in `Settings`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from mien.cluster.config.mirror import HIDE, model_of
from mien.cluster.config.sections import Acquire, Engine, Store, WeightsChoice
from mien.ingest.platforms.acceptance import AcceptancePolicy
from mien.pipelines.align.stage import Align
from mien.pipelines.annotators import ANNOTATORS
from mien.pipelines.annotators.annotator import Annotator
from mien.pipelines.faces.stage import Faces
from mien.pipelines.fetch import FetchStage
from mien.pipelines.shards.write import WriteShards
from mien.pipelines.speech.split import Split
from mien.pipelines.stage import ClipSettings, Stage
from mien.pipelines.transcribe.stage import Transcribe

# What the run says to its stages: set once in `clip`, `store` and `engine`, not in each stage again.
_FETCH = {HIDE: ("cache_dir", "identities", "ytdlp_options", "acceptance", "keep_uri")}


@cache
def annotator_settings(registry: tuple[tuple[str, type[Annotator]], ...]) -> type:
    """A dataclass with a field for each registered annotator: the section `[annotators.<name>]`."""
    sections = [(name, kind, field(default_factory=kind)) for name, kind in registry]
    return make_dataclass("AnnotatorSettings", sections, frozen=True, kw_only=True)


def _default_annotators() -> Any:
    """Reads the registry at call time, so that an annotator that is registered later is included."""
    return annotator_settings(tuple(ANNOTATORS.items()))()


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Sections in the order in which data flows; each is what its stage is made of."""

    store: Store = field(default_factory=Store)
    clip: ClipSettings = field(default_factory=ClipSettings)
    acquire: Acquire = field(default_factory=Acquire)
    fetch: FetchStage = field(default_factory=FetchStage, metadata=_FETCH)
    split: Split = field(default_factory=Split)
    faces: Faces = field(default_factory=Faces)
    transcribe: Transcribe = field(default_factory=Transcribe)
    align: Align = field(default_factory=Align)
    shards: WriteShards = field(default_factory=WriteShards)
    annotators: Any = field(default_factory=_default_annotators)
    engine: Engine = field(default_factory=Engine)
    weights: WeightsChoice = field(default_factory=WeightsChoice)

    def enabled_annotators(self) -> tuple[Annotator, ...]:
        """In the order of the registry."""
        configured = [getattr(self.annotators, each.name) for each in fields(self.annotators)]
        return tuple(annotator for annotator in configured if annotator.enabled)

    def pipeline(self) -> dict[str, Any]:
        """The arguments of `talking_face`."""
        sections = [getattr(self, each.name) for each in fields(self)]
        stages = {section.name: section for section in sections if isinstance(section, Stage)}
        return {"require": self.clip.require, "annotators": self.enabled_annotators(), **stages}


class _Root(BaseSettings):
    """Only what it is given: the layers are read, checked and merged before (layers.py)."""

    model_config = SettingsConfigDict(extra="forbid", arbitrary_types_allowed=True, protected_namespaces=())

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def settings_model() -> Any:
    """The pydantic model of all sections, those of the registered annotators included."""
    return model_of(Settings, base=_Root)


def connect(settings: Settings) -> Settings:
    """Hands the values that several stages share from `clip`, `store` and `acquire` to each; `~` is home."""
    places = {name: getattr(settings.store, name) for name in ("root", "shards", "cache")}
    # Not by pathlib, which would make one slash of the two in an object store's URI.
    found = {name: os.path.expanduser(place) for name, place in places.items()}  # noqa: PTH111
    settings = replace(settings, store=replace(settings.store, **found))
    return replace(
        settings,
        fetch=replace(
            settings.fetch,
            cache_dir=settings.store.cache_folder,
            identities=settings.acquire.identities,
            ytdlp_options=settings.acquire.ytdlp_options,
            keep_uri=media_uri(settings) if settings.acquire.keep_media == "always" else "",
            acceptance=AcceptancePolicy(
                format=settings.acquire.format,
                licence=settings.acquire.licence,
                max_age_limit=settings.acquire.max_age_limit,
                after=settings.acquire.after,
            ),
        ),
    )


def media_uri(settings: Settings) -> str:
    """Of kept media."""
    return settings.acquire.media_uri or str(Path(settings.store.root).absolute() / "media")
