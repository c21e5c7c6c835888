"""The cache of remote media on this node, limited in bytes and shared by all processes of the node.

    <hash><extension>         complete and synced to disk; its access time is the time of the last request
    <hash><extension>.part    locked: being written; unlocked: an interrupted download (resume_info.py)
    <hash><extension>.work    folder for intermediate files of a download, protected by the lock of the .part
    <hash><extension>.about   metadata that was recorded when the file was fetched; removed with the file
    <hash><extension>.wanted  the file will still be read (pins.py); removed with the file

Processes coordinate with flock(2), which the kernel releases when a process dies. A reader holds a shared
lock on the file, a writer an exclusive lock on the .part, and a process that counts bytes the lock on .lock.
So a kill leaves at most an unlocked .part, which the next writer takes over. It is evicted if its room is
needed, and `sweep` removes it if it cannot be resumed. The folder must be on a local disk.
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
"""Time between two counts of all files. In between, reservations are added to the last count. The sum is
never too small, since files grow only after a reservation. Only work folders are known from counts alone."""


class MediaCache:
    """A folder of fetched media; the least recently used file is evicted first.

    A file is not evicted while it is held (`obtain`, `hold`) or pinned, or if it was requested less than
    `grace_seconds` ago, since no process has it open between two stages.
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
        """The file of `identity`, held inside the block; `download` fills it if it is not in the cache.

        If several processes need the file, one downloads it and the others wait. `pinned_by`: the key of a
        video; the file stays pinned until it is released.

        Raises what `download` raises. CacheFullError: the cache is full of files in use. TooLargeError: the
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
        """Protects `path` from eviction inside the block; False if the file does not exist."""
        descriptor = self._lock_existing(path)
        try:
            yield descriptor is not None
        finally:
            if descriptor is not None:
                os.close(descriptor)

    def holds(self, path: str) -> bool:
        return Path(path).parent == self.folder

    def about(self, path: Path) -> str:
        """The metadata recorded when the cached file at `path` was fetched; "" if there is none."""
        try:
            return _about(path).read_text(encoding="utf-8")
        except FileNotFoundError:
            return ""

    def discard(self, path: Path) -> None:
        """Removes a file with unusable content; processes that have it open can still read it."""
        path.unlink(missing_ok=True)
        _forget(path)

    def release(self, path: Path) -> bool:
        """Removes a file that is no longer needed; False if another process still holds it."""
        with suppress(FileNotFoundError):
            return self._remove_unlocked(path)
        return True

    def sweep(self) -> int:
        """Removes the files that killed writers left; returns their number."""
        removed = 0
        for part in self.folder.glob("*.part"):
            with suppress(FileNotFoundError):
                removed += not resume_info.is_fresh(part) and self._remove_unlocked(part)
        for work in self.folder.glob("*.work"):
            if time.time() - _newest(work) > resume_info.RESUMABLE_SECONDS:
                removed += self._remove_work(work)
        for note in (path for path in self.folder.iterdir() if path.suffix in _NOTES):
            # A note is written before its file. The .part is checked first, as it may be renamed in between.
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
                # Keep the modification time: readers take a new one for a change of the content.
                os.utime(path, ns=(time.time_ns(), os.fstat(descriptor).st_mtime_ns))
                return descriptor
            os.close(descriptor)

    def _write(self, final: Path, download: Callable[[PartialFile], None]) -> int | None:
        """A locked descriptor of the file just written; None if the caller must check for the file again."""
        part = final.with_name(final.name + ".part")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        partial = PartialFile(descriptor, self._reserve, self.max_bytes, part)
        is_held = False
        try:
            lock(descriptor)
            # The previous owner of the lock has finished this file, failed, or removed it.
            if is_at(descriptor, part):
                if final.exists():
                    part.unlink()
                else:
                    partial.begin()
                    download(partial)
                    partial.finish()
                    if partial.about:
                        _about(final).write_text(partial.about, encoding="utf-8")
                    with self._locked():  # a count must not miss it between its two names
                        part.rename(final)
                    resume_info.forget(part)
                    lock(partial.descriptor, shared=True)
                    is_held = is_at(partial.descriptor, final)
        except BaseException as error:
            # We hold the lock, so no other process removes or renames it.
            if is_at(partial.descriptor, part) and not partial.save_for_resume(error):
                part.unlink()
                _forget(part)
            raise
        finally:
            if not is_held:
                os.close(partial.descriptor)
        return partial.descriptor if is_held else self._lock_existing(final)

    def _reserve(self, descriptor: int, total_bytes: int) -> None:
        """Makes the file behind `descriptor` `total_bytes` long (sparse), evicting files as needed.

        The length is the reservation: other processes count it before a byte is written.
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
                is_partial = path.suffix == ".part"
                with suppress(FileNotFoundError):
                    if path.suffix == ".work":
                        excess -= size if self._remove_work(path) else 0
                    elif (is_partial or self._is_evictable(path, now - used_at)) and self._remove_unlocked(
                        path
                    ):
                        excess -= size
            if excess > 0:
                raise CacheFullError(
                    f"{self.folder}: the media cache of {self.max_bytes:,} bytes is full of files in use, "
                    f"{excess:,} bytes are missing; raise fetch.cache_max_bytes, or process some videos first"
                )
            os.ftruncate(descriptor, total_bytes)
            os.pwrite(lock, _BOUND.pack(min(bound + added, self.max_bytes), counted_at), 0)

    def _is_evictable(self, path: Path, unused_seconds: float) -> bool:
        return unused_seconds >= self.grace_seconds and not pins.is_pinned(path)

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """The descriptor of the file .lock, while no other process counts."""
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
        """Removes the work folder of an interrupted download, unless another process is resuming it."""
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
    """Removes the notes beside a file that was removed."""
    _about(path).unlink(missing_ok=True)
    resume_info.forget(path)
    pins.marker(path).unlink(missing_ok=True)


def _newest(folder: Path) -> float:
    """The time of the last change in `folder`; 0 if it does not exist."""
    try:
        return max([folder.stat().st_mtime, *(file.stat().st_mtime for file in folder.iterdir())])
    except FileNotFoundError:
        return 0.0


def _read_bound(lock: int) -> tuple[int, float]:
    """The largest number of bytes that may be in use, and the time of the count; zeros if none is stored."""
    written = os.pread(lock, _BOUND.size, 0)
    return _BOUND.unpack(written) if len(written) == _BOUND.size else (0, 0.0)
