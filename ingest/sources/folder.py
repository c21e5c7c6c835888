"""Files and folders of this machine.

A named file is always included, even a dead link, a named pipe or an empty file, so that it gets its own
outcome. From a folder, every file with a matching extension is included, and the rest is counted. Links to
files are followed. Each folder is walked once, under its own path if that path is inside the walk.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import PurePosixPath

from mien.ingest.errors import AccessDeniedError, MediaError, MissingFileError, one_line
from mien.ingest.media import VideoRef
from mien.ingest.naming import (
    extension_of,
    local_path,
    make_id,
    path_uri,
    printable,
)
from mien.ingest.sources.skipped import Skipped


class FileSource:
    def accepts(self, argument: str) -> bool:
        if not argument or "\0" in argument:
            return False
        return "://" not in argument or argument.lower().startswith("file://") or os.path.lexists(argument)

    def expand(self, argument: str, skipped: Skipped, extensions: frozenset[str]) -> Iterator[VideoRef]:
        named = argument if os.path.lexists(argument) else local_path(argument)
        path = os.path.abspath(argument if named is None else named)  # noqa: PTH100
        if not _is_folder(path):
            yield file_ref(path, query=argument)
            return
        for name in walk(path, skipped):
            extension = extension_of(name)
            if extension in extensions:
                yield file_ref(name, query=path)
            else:
                skipped.not_media[printable(extension)] += 1


def file_ref(path: str, *, query: str) -> VideoRef:
    """The reference of the file at the absolute `path`. The id depends only on the path."""
    stem = PurePosixPath(path).stem
    return VideoRef(
        source="file",
        id=make_id(stem, os.fsencode(path)),
        uri=path_uri(path),
        title=printable(stem),
        query=path_uri(query),
    )


def _is_folder(path: str) -> bool:
    try:
        return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116
    except OSError:
        # Opening the file later reports what is wrong with it.
        return False


def walk(root: str, skipped: Skipped) -> Iterator[str]:
    """The absolute path of every file below the folder `root`.

    Depth first; a folder's files come before its subfolders, each sorted by the bytes of its name. A folder
    that cannot be listed is reported in `skipped`.
    """
    waiting = [root]
    linked: list[str] = []
    seen: set[tuple[int, int]] = set()
    while waiting or linked:
        # Links to folders come last, so that a link back into the walk is recognised.
        folder = waiting.pop() if waiting else linked.pop(0)
        try:
            info = os.stat(folder)  # noqa: PTH116
            if (info.st_dev, info.st_ino) in seen:
                continue
            seen.add((info.st_dev, info.st_ino))
            with os.scandir(folder) as found:
                entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
        except OSError as error:
            skipped.errors.append(_listing_error(folder, error))
            continue
        below: list[str] = []
        for entry in entries:
            if _is_folder(entry.path):
                (linked if entry.is_symlink() else below).append(entry.path)
            else:
                yield entry.path
        waiting.extend(reversed(below))


def _listing_error(folder: str, error: OSError) -> MediaError:
    kind: type[MediaError] = MissingFileError if isinstance(error, FileNotFoundError) else AccessDeniedError
    return kind(
        one_line(
            f"{printable(folder)}: the folder cannot be listed ({error.strerror}); "
            "fix the problem and add the folder again; nothing is added twice"
        )
    )
