"""All settings as one typed value. A new section is one line in `Settings`."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, fields, make_dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from mien.cluster.config.schema import DERIVED
from mien.cluster.config.sections import AcquireSettings, EngineSettings, StoreSettings, WeightsSettings
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

# These fields of the fetch stage come from the sections `store` and `acquire`.
_FETCH = {DERIVED: ("cache_dir", "identities", "ytdlp_options", "acceptance", "keep_uri")}


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
    """The sections, in the order of the data flow. The section of a stage is the stage itself."""

    store: StoreSettings = field(default_factory=StoreSettings)
    clip: ClipSettings = field(default_factory=ClipSettings)
    acquire: AcquireSettings = field(default_factory=AcquireSettings)
    fetch: FetchStage = field(default_factory=FetchStage, metadata=_FETCH)
    split: Split = field(default_factory=Split)
    faces: Faces = field(default_factory=Faces)
    transcribe: Transcribe = field(default_factory=Transcribe)
    align: Align = field(default_factory=Align)
    shards: WriteShards = field(default_factory=WriteShards)
    annotators: Any = field(default_factory=_default_annotators)
    engine: EngineSettings = field(default_factory=EngineSettings)
    weights: WeightsSettings = field(default_factory=WeightsSettings)

    def enabled_annotators(self) -> tuple[Annotator, ...]:
        """In the order of the registry. Without faces in the clips, annotators of faces have no input."""
        configured = [getattr(self.annotators, each.name) for each in fields(self.annotators)]
        has_faces = "face" in self.clip.require
        return tuple(
            annotator
            for annotator in configured
            if annotator.enabled and (has_faces or annotator.is_builtin or not annotator.needs_face)
        )

    def pipeline(self) -> dict[str, Any]:
        """The arguments of `talking_face`."""
        sections = [getattr(self, each.name) for each in fields(self)]
        stages = {section.name: section for section in sections if isinstance(section, Stage)}
        return {"require": self.clip.require, "annotators": self.enabled_annotators(), **stages}


def connect(settings: Settings) -> Settings:
    """Copies values of `store` and `acquire` to the fetch stage, and expands `~`."""
    places = {name: getattr(settings.store, name) for name in ("root", "shards", "cache")}
    # pathlib would turn the two slashes of an object store URI into one.
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
    """Folder or URI for retained media."""
    return settings.acquire.media_uri or str(Path(settings.store.root).absolute() / "media")
