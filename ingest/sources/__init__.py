"""Where videos come from. A new source is one file and one line here.

`expand` turns what a person typed into the videos that it stands for, and reads none of them.
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
from mien.ingest.sources.tables import ListSource, TableSource
from mien.ingest.sources.tally import Tally
from mien.ingest.sources.web import HttpSource
from mien.ingest.storage.location import redact

__all__ = [
    "MEDIA_EXTENSIONS",
    "SOUND_EXTENSIONS",
    "SOURCES",
    "Source",
    "Tally",
    "expand",
    "local_path",
    "make_sources",
    "path_uri",
]


class Source(Protocol):
    def accepts(self, argument: str) -> bool:
        """Whether `argument` is of this source's kind, by its form alone: nothing is opened."""
        ...

    def expand(self, argument: str, tally: Tally, extensions: frozenset[str]) -> Iterator[VideoRef]:
        """The videos of `argument`, in an order that does not change; what is left out goes to `tally`.

        `extensions` are those of the files that are taken from a folder; what is named is always taken.
        """
        ...


def _entry(
    sources: Mapping[str, Source], folder: str, entry: str, tally: Tally, extensions: frozenset[str]
) -> Iterator[VideoRef]:
    """The videos of one line of a list that lies in `folder`. A list names no lists and no corpora."""
    for name, source in sources.items():
        if name not in _NOT_IN_LISTS and name != "file" and source.accepts(entry):
            return source.expand(entry, tally, extensions)
    path = entry if "://" in entry else os.path.join(folder, entry)  # noqa: PTH118
    if "\0" in entry or not sources["file"].accepts(path):
        raise UsageError(f"{redact(entry)}: no source takes this; give a path or an http(s) URL")
    if any(sources[name].accepts(path) for name in ("table", "list")):
        raise UsageError(f"{entry}: a list within a list; add it by itself")
    return sources["file"].expand(path, tally, extensions)


def make_sources(*, column: str = "", lister_of: ListerOf = direct_lister) -> dict[str, Source]:
    """The registry. `column` names a table's column of paths or URLs; `lister_of` makes
    the listers of platforms, also for addresses inside lists."""
    made: dict[str, Source] = {}
    entry = partial(_entry, made)
    # Asked in this order; the first that accepts an argument has it. The key is `VideoRef.source`, but for
    # lists, whose entries are of the source that takes them.
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
    tally: Tally | None = None,
    extensions: frozenset[str] = MEDIA_EXTENSIONS,
    sources: Mapping[str, Source] = SOURCES,
) -> Iterator[VideoRef]:
    """The videos that `argument` (a file, a folder, a URL, a corpus, a list…) stands for.

    What was left out on purpose, and what could not be listed, is in `tally` afterwards. Without a tally the
    first listing error is raised, after everything that could be listed was yielded.

    Raises:
        UsageError: no source takes the argument, or it holds credentials.
        MienError: without a tally, what a folder or a bucket answered that could not be listed.
    """
    kept = Tally() if tally is None else tally
    for source in sources.values():
        if source.accepts(argument):
            yield from source.expand(argument, kept, extensions)
            break
    else:
        raise UsageError(
            f"{redact(argument) or 'an empty argument'}: no source takes this; "
            "give a file, a folder, a table, an http(s) URL, or s3://, gs://, abfs://"
        )
    if tally is None and kept.errors:
        raise kept.errors[0]
