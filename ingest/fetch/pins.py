"""Which cached media somebody is still going to read: a marker beside each file, with its video's key.

    <hash><extension>.wanted    younger than a day: the file is not evicted, whoever needs room

Whoever knows the videos renews the markers of those that are not done, and releases the others; who reads a
file renews its marker as well, since a driver reaches those of its own machine alone. A marker that nobody
renews (of another catalog, of a video that ended under a driver elsewhere) ends by itself: no room is lost
for ever.
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
    """Wanted by the video `key`; "": by whoever it was."""
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
    """Bytes of each media file in `folder` that is wanted.

    Every few seconds each is looked at; in between only whether there are others than before. So what came is
    seen at once, whoever brought it, and what went, too. A little later: a wish that ended, which makes room,
    and the new size of what went and came again in between.
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
        # What changes within the tick of the file system's clock in which we look changes no time.
        self._changed_ns, is_settled = changed_ns, time.time_ns() - changed_ns > TICK_NS
        with os.scandir(self._folder) as entries:
            notes = [entry.name for entry in entries if entry.name.endswith(SUFFIX)]
        known = ((note, self._sizes.get(note) or self._size(note)) for note in notes)
        self._sizes = {note: size for note, size in known if size}
        # A marker that has ended may be renewed, which changes nothing of the folder.
        self._is_sure = is_settled and len(self._sizes) == len(notes)
        return list(self._sizes.values())

    def _size(self, note: str) -> int:
        path = self._folder / note.removesuffix(SUFFIX)
        with suppress(FileNotFoundError):
            if is_pinned(path):
                return path.stat().st_size
        return 0


def marked(folder: Path) -> Iterator[tuple[str, Path]]:
    """The key of each video whose media is marked, and where that is."""
    for found in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError, UnicodeDecodeError):
            yield found.read_text(encoding="utf-8"), found.with_suffix("")
