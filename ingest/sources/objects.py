"""Objects of an object store: one object, or all below a prefix."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import quote, urlsplit

from mien.ingest.errors import MienError, StorageDeniedError
from mien.ingest.media import VideoRef
from mien.ingest.naming import extension_of, make_id, printable
from mien.ingest.sources.skipped import Skipped
from mien.ingest.storage.error_mapping import retried, translated
from mien.ingest.storage.location import OBJECT_SCHEMES, open_filesystem, redact, split_object_uri

# Characters that are legal in a key but not in a URI's path; `split_object_uri` decodes them.
_RESERVED = re.compile(r"[%?#\x00-\x20\x7f]")


class ObjectSource:
    def accepts(self, argument: str) -> bool:
        return "://" in argument and urlsplit(argument).scheme in OBJECT_SCHEMES

    def expand(self, argument: str, skipped: Skipped, extensions: frozenset[str]) -> Iterator[VideoRef]:
        split_object_uri(argument)
        try:
            with translated(f"opening {redact(argument)}"):
                filesystem, path = open_filesystem(argument)
            infos = retried(lambda: _listing(filesystem, path, argument))
        except MienError as error:
            if error.exit_code == 2:
                raise
            skipped.errors.append(error)
            return
        if infos is None:
            # A named object is always included. If it is missing, fetching reports that.
            yield object_ref(argument, path, path)
            return
        for info in sorted(infos, key=lambda info: os.fsencode(info.path)):
            if not info.is_file:
                continue
            extension = extension_of(info.base_name)
            if extension in extensions:
                yield object_ref(argument, path, info.path)
            else:
                skipped.not_media[printable(extension)] += 1


def object_ref(argument: str, prefix: str, path: str) -> VideoRef:
    """The reference of the object at `path` ("bucket/key"), found below `prefix`."""
    parts = urlsplit(argument)
    # All but the key comes from the argument, such as the account of an abfs URI or the region of an S3 URI.
    key = parts.path.rstrip("/") + _RESERVED.sub(lambda letter: quote(letter[0]), path[len(prefix) :])
    query = f"?{parts.query}" if parts.query else ""
    uri = f"{parts.scheme}://{parts.netloc}{key}{query}"
    stem = PurePosixPath(path).stem
    return VideoRef(
        source="object", id=make_id(stem, uri.encode()), uri=uri, title=printable(stem), query=argument
    )


def _listing(filesystem: Any, path: str, argument: str) -> Any:
    """Infos of the objects below `path`, or None if `path` is treated as one object."""
    from pyarrow.fs import FileSelector, FileType

    with translated(f"listing {redact(argument)}"):
        kind = filesystem.get_file_info(path).type
        if kind is FileType.Directory:
            return filesystem.get_file_info(FileSelector(path, recursive=True))
        if kind is FileType.NotFound and (argument.endswith("/") or "/" not in path):
            raise StorageDeniedError(
                f"{redact(argument)}: nothing was found; correct the bucket or the prefix"
            )
        return None
