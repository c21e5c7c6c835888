"""`mien add`: expands its arguments and adds the videos to the catalog."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from functools import partial
from itertools import islice
from pathlib import Path, PurePath

from mien.cluster.config import Settings
from mien.cluster.runner.search import lister_of
from mien.ingest.catalog import AddResult, Catalog
from mien.ingest.media import VideoRef
from mien.ingest.sources import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, Skipped, expand, local_path, make_sources

BATCH = 5000


def add(
    settings: Settings,
    arguments: Iterable[str],
    *,
    column: str = "",
) -> tuple[AddResult, Skipped]:
    """Adds the videos that the arguments name, in batches. `skipped` counts skipped items and errors.

    A folder stands for its video files, and for its sound files too if only speech is required. Files of the
    store itself (fetched media, shards) are never added.
    """
    skipped = Skipped()
    result = AddResult()
    only_speech = tuple(settings.clip.require) == ("speech",)
    extensions = MEDIA_EXTENSIONS | SOUND_EXTENSIONS if only_speech else MEDIA_EXTENSIONS
    own = _own_folders(settings)

    def is_foreign(ref: VideoRef) -> bool:
        path = local_path(ref.uri)
        if path is None or not any(PurePath(path).is_relative_to(folder) for folder in own):
            return True
        skipped.left_out["in mien's own store"] += 1
        return False

    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        # Channels and playlists, also those inside lists, are listed as the configured identities.
        sources = make_sources(column=column, lister_of=partial(lister_of, settings, catalog))
        refs: Iterator[VideoRef] = (
            ref
            for argument in arguments
            for ref in expand(argument, skipped=skipped, extensions=extensions, sources=sources)
            if is_foreign(ref)
        )
        while batch := list(islice(refs, BATCH)):
            part = catalog.add(batch)
            result.new.extend(part.new)
            result.known.extend(part.known)
            result.labelled.extend(part.labelled)
            result.written.extend(part.written)
    return result, skipped


def _own_folders(settings: Settings) -> list[Path]:
    """Folders in which the store keeps fetched media and its own output."""
    store = settings.store
    places = [store.cache_folder, store.shards_uri, settings.fetch.keep_uri]
    places += [str(Path(store.root) / name) for name in ("cache", "shards", "media", "spool")]
    folders = [Path(place).absolute() for place in places if place and "://" not in place]
    return [*folders, *(folder.resolve() for folder in folders)]
