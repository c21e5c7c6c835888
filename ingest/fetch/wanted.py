"""Which cached media somebody is still going to read: a marker beside each file, with its video's key.

    <hash><extension>.wanted    younger than a day: the file is not evicted, whoever needs room

Whoever knows the videos renews the markers of those that are not done, and releases the others. A marker that
nobody renews (of another catalog, of a machine whose driver is elsewhere) ends by itself: no room is lost
for ever.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from ingest.storage.trouble import translated

SUFFIX = ".wanted"
LASTS_SECONDS = 24 * 3600.0


def marker(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def mark(path: Path, key: str) -> None:
    with translated(f"caching in {path.parent}"):
        marker(path).write_text(key, encoding="utf-8")


def renew(path: Path) -> None:
    with suppress(FileNotFoundError):
        os.utime(marker(path))


def is_wanted(path: Path) -> bool:
    try:
        return time.time() - marker(path).stat().st_mtime < LASTS_SECONDS
    except FileNotFoundError:
        return False


def sizes(folder: Path) -> list[int]:
    """Bytes of each media file that is wanted."""
    found = []
    for note in folder.glob(f"*{SUFFIX}"):
        path = note.with_suffix("")
        with suppress(FileNotFoundError):
            if is_wanted(path):
                found.append(path.stat().st_size)
    return found


def marked(folder: Path) -> Iterator[tuple[str, Path]]:
    """The key of each video whose media is marked, and where that is."""
    for found in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError, UnicodeDecodeError):
            yield found.read_text(encoding="utf-8"), found.with_suffix("")
