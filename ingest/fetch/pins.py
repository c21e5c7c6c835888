"""Pins: markers beside cached files that will still be read; each contains the key of its video.

    <hash><extension>.wanted    younger than a day: the file is not evicted

The driver renews the markers of unfinished videos and releases the others. Readers of a file renew its marker
too, since a driver reaches only the files on its own machine. A marker that is not renewed (it belongs to
another catalog, or its video ended under a driver elsewhere) expires, so no room is lost for ever.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from mien.ingest.storage.error_mapping import translated

SUFFIX = ".wanted"
LASTS_SECONDS = 24 * 3600.0
COUNT_SECONDS = 5.0
TICK_NS = 100_000_000


def marker(path: Path) -> Path:
    return path.with_name(path.name + SUFFIX)


def mark(path: Path, key: str) -> None:
    """Pins the file for the video `key`; "" renews the pin for the same video."""
    if not key:
        renew(path)
        return
    with translated(f"caching in {path.parent}"):
        marker(path).write_text(key, encoding="utf-8")


def renew(path: Path) -> None:
    with suppress(FileNotFoundError):
        os.utime(marker(path))


def is_pinned(path: Path) -> bool:
    try:
        return time.time() - marker(path).stat().st_mtime < LASTS_SECONDS
    except FileNotFoundError:
        return False


class Sizes:
    """The bytes of each pinned file in `folder`.

    Every few seconds all files are examined; in between, only whether the folder has changed. New and removed
    files are therefore noticed at once; an expired pin, or the new size of a replaced file, a little later.
    """

    def __init__(self, folder: Path, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder, self._clock = folder, clock
        self._sizes: dict[str, int] = {}
        self._changed_ns, self._is_sure, self._count_at = 0, False, -math.inf

    def now(self) -> list[int]:
        try:
            changed_ns, now = self._folder.stat().st_mtime_ns, self._clock()
        except FileNotFoundError:
            return []
        if now >= self._count_at:
            self._sizes, self._count_at = {}, now + COUNT_SECONDS
        elif changed_ns == self._changed_ns and self._is_sure:
            return list(self._sizes.values())
        # A change within the clock tick of the file system in which we look does not change the time.
        self._changed_ns, is_settled = changed_ns, time.time_ns() - changed_ns > TICK_NS
        with os.scandir(self._folder) as entries:
            notes = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
        known = ((note, self._sizes.get(note) or self._size(note)) for note in notes)
        self._sizes = {note: size for note, size in known if size}
        # An expired marker may be renewed, which does not change the folder.
        self._is_sure = is_settled and len(self._sizes) == len(notes)
        return list(self._sizes.values())

    def _size(self, note: str) -> int:
        path = self._folder / note.removesuffix(SUFFIX)
        with suppress(FileNotFoundError):
            if is_pinned(path):
                return path.stat().st_size
        return 0


def marked(folder: Path) -> Iterator[tuple[str, Path]]:
    """The key and the path of each pinned file."""
    for found in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError, UnicodeDecodeError):
            yield found.read_text(encoding="utf-8"), found.with_suffix("")
