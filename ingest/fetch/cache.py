"""The media of remote videos on this node, bounded by bytes, shared by every process on it.

    <hash><extension>        whole and synced; its access time is when it was last asked for
    <hash><extension>.part   somebody is writing it, as long as it is locked; else a broken one's (begun.py)
    <hash><extension>.work   folder of what a download makes on its way, under the lock of the .part
    <hash><extension>.about  what was told of the file when it was fetched; goes with it
    <hash><extension>.wanted somebody is going to read it (pins.py); removed with it

All coordination is flock(2), which the kernel drops when a process dies: a shared lock says "I read this",
an exclusive one on a .part "I write this", the one on .lock "I count". So a kill leaves at worst an unlocked
.part, which the next writer takes over; it goes where its room is needed, and by `sweep` where nobody can go
on with it. The folder must be on a local disk.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from mien.ingest.errors import CacheFullError, TooLargeError
from mien.ingest.fetch import pins, resume_info
from mien.ingest.fetch.partial_file import PartialFile
from mien.ingest.storage.error_mapping import translated
from mien.ingest.storage.file_locks import is_at, lock, try_lock

GRACE_SECONDS = 900.0
_BOUND = struct.Struct("=qd")
_NOTES = frozenset({".about", pins.SUFFIX, resume_info.SUFFIX, resume_info.NEW_SUFFIX})
COUNT_SECONDS = 5.0
"""Between two looks at every file. Meanwhile what was reserved is added to what the last look found: never
too little, since nothing grows without a reservation (but in work folders, which only a look knows)."""


class MediaCache:
    """A folder of fetched media, least recently used first to go.

    A file stays that somebody holds (`obtain`, `hold`) or wants, or that was asked for less than
    `grace_seconds` ago: between the stages a file is in use without being open.
    """

    def __init__(self, folder: Path, max_bytes: int, *, grace_seconds: float = GRACE_SECONDS) -> None:
        self.folder = folder.absolute()
        self.max_bytes = max_bytes
        self.grace_seconds = grace_seconds
        with translated(f"opening the media cache {self.folder}"):
            self.folder.mkdir(parents=True, exist_ok=True)
        self.sweep()

    def path_of(self, identity: str, extension: str = "") -> Path:
        return self.folder / (hashlib.sha256(identity.encode()).hexdigest()[:40] + extension)

    @contextmanager
    def obtain(
        self, identity: str, extension: str, download: Callable[[PartialFile], None], *, pinned_by: str = ""
    ) -> Iterator[Path]:
        """The file of `identity`, held as long as the block lasts; `download` fills it if it is not there.

        Of several processes one downloads, the others wait. `pinned_by`: a video's key; until it is released.

        Raises what `download` raises; CacheFullError: the cache is full of files in use; TooLargeError: the
        file alone is larger than the cache.
        """
        final = self.path_of(identity, extension)
        with translated(f"caching in {self.folder}"):
            descriptor = self._lock_existing(final)
            while descriptor is None:
                descriptor = self._write(final, download)
        try:
            pins.mark(final, pinned_by)
            yield final
        finally:
            os.close(descriptor)

    @contextmanager
    def hold(self, path: Path) -> Iterator[bool]:
        """Keeps `path` from being evicted while the block lasts; False where it is not there (any more)."""
        descriptor = self._lock_existing(path)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def holds(self, path: str) -> bool:
        return Path(path).parent == self.folder

    def about(self, path: Path) -> str:
        """What was told of the cached file at `path` when it was fetched; "" for nothing."""
        try:
            return _about(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def discard(self, path: Path) -> None:
        """Removes a file whose content is of no use; whoever reads it keeps what is open."""
        path.unlink(missing_ok=True)
        _forget(path)

    def release(self, path: Path) -> bool:
        """Removes a file that is needed no more; False where somebody else still holds it."""
        with suppress(FileNotFoundError):
            return self._remove_unlocked(path)
        return True

    def sweep(self) -> int:
        """Removes what killed writers left; returns how many files."""
        removed = 0
        for part in self.folder.glob("*.part"):
            with suppress(FileNotFoundError):
                removed += not resume_info.is_fresh(part) and self._remove_unlocked(part)
        for work in self.folder.glob("*.work"):
            if time.time() - _newest(work) > resume_info.KEPT_SECONDS:
                removed += self._remove_work(work)
        for note in (path for path in self.folder.iterdir() if path.suffix in _NOTES):
            # Written before its file is. The .part is looked for first: it may be renamed between two looks.
            final = note.with_suffix("")
            if not final.with_name(final.name + ".part").exists() and not final.exists():
                note.unlink(missing_ok=True)
        return removed

    def used_bytes(self) -> int:
        return sum(size for _, size, _ in self._files())

    def _lock_existing(self, path: Path) -> int | None:
        while True:
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                return None
            lock(descriptor, shared=True)
            if is_at(descriptor, path):
                # The modification time stays: readers take a new one for a change of the content.
                os.utime(path, ns=(time.time_ns(), os.fstat(descriptor).st_mtime_ns))
                return descriptor
            os.close(descriptor)

    def _write(self, final: Path, download: Callable[[PartialFile], None]) -> int | None:
        """A locked descriptor of the freshly written file; None where it has to be looked for again."""
        part = final.with_name(final.name + ".part")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        partial = PartialFile(descriptor, self._reserve, self.max_bytes, part)
        is_kept = False
        try:
            lock(descriptor)
            # Whoever had the lock before us has finished this file, failed with it, or removed it.
            if is_at(descriptor, part):
                if final.exists():
                    part.unlink()
                else:
                    partial.begin()
                    download(partial)
                    partial.finish()
                    if partial.about:
                        _about(final).write_text(partial.about, encoding="utf-8")
                    with self._locked():  # who counts may not miss it between its two names
                        part.rename(final)
                    resume_info.forget(part)
                    lock(partial.descriptor, shared=True)
                    is_kept = is_at(partial.descriptor, final)
        except BaseException as error:
            # Ours, as long as the lock is: nobody else removes or renames it.
            if is_at(partial.descriptor, part) and not partial.keep_for_resume(error):
                part.unlink()
                _forget(part)
            raise
        finally:
            if not is_kept:
                os.close(partial.descriptor)
        return partial.descriptor if is_kept else self._lock_existing(final)

    def _reserve(self, descriptor: int, total_bytes: int) -> None:
        """Makes the file behind `descriptor` `total_bytes` long (sparse), evicting what that takes.

        The length is the reservation: another process that counts sees it before a byte is written.
        """
        if total_bytes > self.max_bytes:
            raise TooLargeError(
                f"a file of {total_bytes:,} bytes does not fit into a media cache of {self.max_bytes:,}; "
                "raise fetch.cache_max_bytes"
            )
        with self._locked() as lock:
            now, added = time.time(), total_bytes - os.fstat(descriptor).st_size
            bound, counted_at = _read_bound(lock)
            if not 0 <= now - counted_at < COUNT_SECONDS or bound + added > self.max_bytes:
                bound, counted_at = self.used_bytes(), now
            excess = bound + added - self.max_bytes
            for used_at, size, path in self._files() if excess > 0 else ():
                if excess <= 0:
                    break
                is_stray = path.suffix == ".part"
                with suppress(FileNotFoundError):
                    if path.suffix == ".work":
                        excess -= size if self._remove_work(path) else 0
                    elif (is_stray or self._may_go(path, now - used_at)) and self._remove_unlocked(path):
                        excess -= size
            if excess > 0:
                raise CacheFullError(
                    f"{self.folder}: the media cache of {self.max_bytes:,} bytes is full of files in use, "
                    f"{excess:,} bytes are missing; raise fetch.cache_max_bytes, or let videos be done first"
                )
            os.ftruncate(descriptor, total_bytes)
            os.pwrite(lock, _BOUND.pack(min(bound + added, self.max_bytes), counted_at), 0)

    def _may_go(self, path: Path, unused_seconds: float) -> bool:
        return unused_seconds >= self.grace_seconds and not pins.is_pinned(path)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The descriptor of the file .lock, while nobody else counts."""
        descriptor = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            lock(descriptor)
            yield descriptor
        finally:
            os.close(descriptor)

    def _files(self) -> list[tuple[float, int, Path]]:
        found: list[tuple[float, int, Path]] = []
        with os.scandir(self.folder) as entries:
            for entry in entries:
                path = Path(entry.path)
                with suppress(FileNotFoundError):
                    if path.suffix == ".work":
                        found.append(
                            (_newest(path), sum(file.stat().st_size for file in path.iterdir()), path)
                        )
                    elif entry.name == ".lock" or path.suffix in _NOTES:
                        continue
                    elif entry.is_file(follow_symlinks=False):
                        info = entry.stat(follow_symlinks=False)
                        found.append((info.st_atime, info.st_size, path))
        return sorted(found)

    def _remove_work(self, folder: Path) -> bool:
        """Removes what a broken download left, unless somebody is going on with it."""
        part = folder.with_suffix(".part")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            if not try_lock(descriptor) or not is_at(descriptor, part):
                return False
            shutil.rmtree(folder, ignore_errors=True)
            part.unlink()
        finally:
            os.close(descriptor)
        return True

    def _remove_unlocked(self, path: Path) -> bool:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            if not try_lock(descriptor):
                return False
            if is_at(descriptor, path):
                path.unlink()
                _forget(path)
        finally:
            os.close(descriptor)
        return True


def _about(path: Path) -> Path:
    return path.with_name(path.name + ".about")


def _forget(path: Path) -> None:
    """What is known beside a file that is gone."""
    _about(path).unlink(missing_ok=True)
    resume_info.forget(path)
    pins.marker(path).unlink(missing_ok=True)


def _newest(folder: Path) -> float:
    """When something in `folder` was last written to; 0 where it is gone."""
    try:
        return max([folder.stat().st_mtime, *(file.stat().st_mtime for file in folder.iterdir())])
    except FileNotFoundError:
        return 0.0


def _read_bound(lock: int) -> tuple[int, float]:
    """At most so many bytes are in use, as was counted at that time; long ago where nothing was written."""
    written = os.pread(lock, _BOUND.size, 0)
    return _BOUND.unpack(written) if len(written) == _BOUND.size else (0, 0.0)
