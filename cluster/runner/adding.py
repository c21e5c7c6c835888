"""What `mien add` does: arguments into rows of the catalog."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from cluster.config import Settings
from cluster.runner.searching import lister_of
from ingest.catalog import AddResult, Catalog
from ingest.media import VideoRef
from ingest.sources import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, SOURCES, Tally, expand
from ingest.sources.youtube import YouTubeSource

BATCH = 5000


def add(
    settings: Settings,
    arguments: Iterable[str],
    *,
    column: str = "",
    say: Callable[[str], None] = lambda line: None,
) -> tuple[AddResult, Tally]:
    """Adds what the arguments stand for, in batches; what could not be listed is in the tally. `say` is told
    what is waited for.

    Folders give films; where only speech is required, recordings of sound alone as well.
    """
    tally = Tally()
    result = AddResult()
    only_speech = tuple(settings.clip.require) == ("speech",)
    extensions = MEDIA_EXTENSIONS | SOUND_EXTENSIONS if only_speech else MEDIA_EXTENSIONS
    refs: Iterator[VideoRef] = (
        ref
        for argument in arguments
        for ref in expand(argument, tally=tally, extensions=extensions, column=column)
    )
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        # Channels and playlists, those within lists too, are asked for as the configured identities.
        SOURCES["youtube"] = YouTubeSource(lister_of(settings, catalog, say))
        while batch := list(islice(refs, BATCH)):
            part = catalog.add(batch)
            result.new.extend(part.new)
            result.known.extend(part.known)
            result.labelled.extend(part.labelled)
            result.written.extend(part.written)
    return result, tally
