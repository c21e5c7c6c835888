"""Where videos come from. A new source is one file and one line here.

`expand` turns what a person typed into the videos that it stands for, and reads none of them.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from ingest.errors import UsageError
from ingest.media import VideoRef
from ingest.sources.folder import FileSource
from ingest.sources.naming import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, local_path, path_uri
from ingest.sources.objects import ObjectSource
from ingest.sources.tally import Tally
from ingest.sources.web import HttpSource
from ingest.storage.location import redact

__all__ = [
    "MEDIA_EXTENSIONS",
    "SOUND_EXTENSIONS",
    "SOURCES",
    "Source",
    "Tally",
    "expand",
    "local_path",
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


# Asked in this order; the first that accepts an argument has it. The key is `VideoRef.source`.
SOURCES: dict[str, Source] = {
    "http": HttpSource(),
    "object": ObjectSource(),
    "file": FileSource(),
}


def expand(
    argument: str, *, tally: Tally | None = None, extensions: frozenset[str] = MEDIA_EXTENSIONS
) -> Iterator[VideoRef]:
    """The videos that `argument` (a file, a folder, a URL, an object store URI) stands for.

    What was left out on purpose, and what could not be listed, is in `tally` afterwards. Without a tally the
    first listing error is raised, after everything that could be listed was yielded.

    Raises:
        UsageError: no source takes the argument, or it holds credentials.
        MienError: without a tally, what a folder or a bucket answered that could not be listed.
    """
    kept = Tally() if tally is None else tally
    for source in SOURCES.values():
        if source.accepts(argument):
            yield from source.expand(argument, kept, extensions)
            break
    else:
        raise UsageError(
            f"{redact(argument) or 'an empty argument'}: no source takes this; "
            "give a file, a folder, an http(s) URL, or s3://, gs://, abfs://"
        )
    if tally is None and kept.errors:
        raise kept.errors[0]
