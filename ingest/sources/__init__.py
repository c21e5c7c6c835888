"""Sources of videos. A new source is one file and one line in `make_sources`.

`expand` turns an argument of the command line into video references. It reads no media.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Protocol

from mien.ingest.errors import UsageError
from mien.ingest.media import VideoRef
from mien.ingest.naming import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, local_path, path_uri
from mien.ingest.platforms import PLATFORMS
from mien.ingest.sources.datasets import DATASETS, DatasetSource
from mien.ingest.sources.folder import FileSource
from mien.ingest.sources.objects import ObjectSource
from mien.ingest.sources.platforms import ListerOf, PlatformSource, direct_lister
from mien.ingest.sources.skipped import Skipped
from mien.ingest.sources.tables import ListSource, TableSource
from mien.ingest.sources.web import HttpSource
from mien.ingest.storage.location import redact

__all__ = [
    "MEDIA_EXTENSIONS",
    "SOUND_EXTENSIONS",
    "SOURCES",
    "Skipped",
    "Source",
    "expand",
    "local_path",
    "make_sources",
    "path_uri",
]


class Source(Protocol):
    def accepts(self, argument: str) -> bool:
        """Whether this source handles `argument`, judged by its form. Opens nothing."""
        ...

    def expand(self, argument: str, skipped: Skipped, extensions: frozenset[str]) -> Iterator[VideoRef]:
        """The videos of `argument`, in a fixed order. Whatever is left out is counted in `skipped`.

        `extensions` selects the files of a folder. A file that is named itself is always included.
        """
        ...


def _entry(
    sources: Mapping[str, Source], folder: str, entry: str, skipped: Skipped, extensions: frozenset[str]
) -> Iterator[VideoRef]:
    """The videos of one entry of a list in `folder`. A list may not contain lists or datasets."""
    for name, source in sources.items():
        if name not in _NOT_IN_LISTS and name != "file" and source.accepts(entry):
            return source.expand(entry, skipped, extensions)
    path = entry if "://" in entry else os.path.join(folder, entry)  # noqa: PTH118
    if "\0" in entry or not sources["file"].accepts(path):
        raise UsageError(f"{redact(entry)}: no source handles this entry; use a path or an http(s) URL")
    if any(sources[name].accepts(path) for name in ("table", "list")):
        raise UsageError(f"{entry}: a list may not contain a list; add that list separately")
    return sources["file"].expand(path, skipped, extensions)


def make_sources(*, column: str = "", lister_of: ListerOf = direct_lister) -> dict[str, Source]:
    """The registry of sources. `column` names a table's column of paths or URLs. `lister_of` makes the
    listers of platforms, also for addresses inside lists."""
    made: dict[str, Source] = {}
    entry = partial(_entry, made)
    # The first source that accepts an argument handles it. The key is `VideoRef.source`, except for lists and
    # tables, whose entries belong to other sources.
    made |= {
        **{name: DatasetSource(dataset) for name, dataset in DATASETS.items()},
        "table": TableSource(entry, column),
        "list": ListSource(entry),
        **{name: PlatformSource(platform, lister_of) for name, platform in PLATFORMS.items()},
        "http": HttpSource(),
        "object": ObjectSource(),
        "file": FileSource(),
    }
    return made


_NOT_IN_LISTS = frozenset({*DATASETS, "table", "list"})
SOURCES = make_sources()


def expand(
    argument: str,
    *,
    skipped: Skipped | None = None,
    extensions: frozenset[str] = MEDIA_EXTENSIONS,
    sources: Mapping[str, Source] = SOURCES,
) -> Iterator[VideoRef]:
    """The videos of `argument`: a file, a folder, a URL, a dataset, a list, …

    `skipped` counts what was left out deliberately and collects what could not be listed. Without it, the
    first listing error is raised after everything that can be listed was yielded.

    Raises:
        UsageError: no source handles the argument, or it contains credentials.
        MienError: without `skipped`: a folder or a bucket could not be listed.
    """
    counted = Skipped() if skipped is None else skipped
    for source in sources.values():
        if source.accepts(argument):
            yield from source.expand(argument, counted, extensions)
            break
    else:
        raise UsageError(
            f"{redact(argument) or 'an empty argument'}: no source handles this; "
            "use a file, a folder, a table, an http(s) URL, or s3://, gs://, abfs://"
        )
    if skipped is None and counted.errors:
        raise counted.errors[0]
