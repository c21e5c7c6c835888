"""A bounded cache of shards from a distant store, shared by all processes of a machine.

`<folder>/<name>@<version>` is whole and checked; the version is of what the index says the shard is, so that
one that was replaced under its name is not taken for the one before. It has been renamed from `….part`, whose
lock its downloader holds, so that one process fetches a shard while the others wait for it, and what a killed
one left is known by its free lock. Who uses a file holds a shared lock on it: what is dropped to make room is
what was used longest ago and is in nobody's use. Room is reserved by giving the growing file its final length
at once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mien.ingest.errors import Policy, StorageError
from mien.ingest.storage import Store
from mien.ingest.storage.error_mapping import retried, translated
from mien.ingest.storage.same_file import is_at
from mien.models.reader.corpus.index import Index
from mien.models.reader.locks import locked, try_lock, wait_lock

PART = ".part"
_CHUNK_BYTES = 16 << 20


class DamagedDownloadError(StorageError):
    """The bytes that came are not those of the index, as often as it was asked."""


class TruncatedDownloadError(DamagedDownloadError):
    pass


class NoRoomError(StorageError):
    policy = Policy.PERMANENT


class ShardCache:
    """Raises OSError from every method where the folder refuses."""

    def __init__(
        self,
        store: Store,
        folder: Path,
        *,
        max_bytes: int,
        timeout_seconds: float,
        secrets: tuple[str, ...] = (),
        release: Callable[[], None] = lambda: None,
    ) -> None:
        """`secrets`: what no message may hold. `release`: lets go of what this process holds and can do
        without, where room is short."""
        self._store, self._folder, self._max_bytes = store, folder, max_bytes
        self._timeout_seconds, self._secrets, self._release = timeout_seconds, secrets, release

    def open(self, name: str, *, size: int, sha256: str, version: str = "") -> tuple[int, Path]:
        """A descriptor of the shard, fetched where it is not there; while it is open, the file is kept.
        `version` tells apart what bears the same name.

        Raises:
            StorageMissingError: the store has no such shard.
            DamagedDownloadError: its bytes are others than the index says.
            NoRoomError: the cache is too small for what is in use at once.
            StorageFullError: the disk is full.
            StorageError: the store does not answer.
            LoaderTimeoutError: another process fetches it, and does not come to an end.
        """
        path = self._path(name, version)
        while True:
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDWR)
                # Dropped between the two, or of another version of the shard.
                if try_lock(descriptor, shared=True) and is_at(descriptor, path):
                    if os.fstat(descriptor).st_size == size or size < 0:
                        os.utime(descriptor)
                        return descriptor, path
                    path.unlink()
                os.close(descriptor)
            fetched = self._fetch(name, path, size, sha256)
            if fetched is not None:
                return fetched, path

    def discard(self, name: str, *, version: str = "") -> None:
        """Who reads it goes on with it; the next `open` fetches another copy."""
        self._path(name, version).unlink(missing_ok=True)

    def _path(self, name: str, version: str) -> Path:
        return self._folder / (f"{name}@{version}" if version else name)

    def _fetch(self, name: str, path: Path, size: int, sha256: str) -> int | None:
        """A descriptor of the file that was fetched; None where another process was faster."""
        self._folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}{PART}")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            wait_lock(
                descriptor,
                f"fetches {self._store.uri}/{name}",
                timeout_seconds=self._timeout_seconds,
                wanted=lambda: is_at(descriptor, part),  # renamed, it is its users' lock, and held for long
            )
            if is_at(descriptor, part):
                if not path.exists():
                    self._make_room(descriptor, max(size, 0))
                    retried(lambda: self._download(name, descriptor, size, sha256))
                    part.rename(path)
                    try_lock(descriptor, shared=True)  # from the downloader's lock to a user's
                    return os.dup(descriptor)
                part.unlink()
            return None
        except BaseException:
            if is_at(descriptor, part):
                part.unlink()
            raise
        finally:
            os.close(descriptor)

    def _download(self, name: str, descriptor: int, size: int, sha256: str) -> None:
        hashed, at = hashlib.sha256(), 0
        uri = f"{self._store.uri}/{name}"
        with self._store.open(name) as source, translated(f"reading {uri}", self._secrets):
            while chunk := source.read(_CHUNK_BYTES):
                os.pwrite(descriptor, chunk, at)
                hashed.update(chunk)
                at += len(chunk)
        os.ftruncate(descriptor, at)
        if 0 <= size != at:
            kind = TruncatedDownloadError if at < size else DamagedDownloadError
            raise kind(f"{uri}: {at} bytes came, the index says {size}")
        if sha256 and hashed.hexdigest() != sha256:
            raise DamagedDownloadError(
                f"{uri}: sha256 is {hashed.hexdigest()[:16]}…, committed was {sha256[:16]}…"
            )

    def _make_room(self, growing: int, wanted: int) -> None:
        for last in (False, True):
            with locked(self._folder / ".room", "makes room", timeout_seconds=self._timeout_seconds):
                if self._drop_until(self._max_bytes - wanted):
                    os.ftruncate(growing, wanted)
                    return
            if not last:
                self._release()
        raise NoRoomError(
            f"{self._folder}: {wanted >> 20} MB do not fit beside the shards in use into the "
            f"{self._max_bytes >> 20} MB of the cache; a larger cache_bytes reads faster"
        )

    def _drop_until(self, limit: int) -> bool:
        """Drops what is least used until at most `limit` bytes are there; False where that cannot be."""
        infos = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):
                infos.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        used = sum(size for _, size, _ in infos)
        for _, size, path in sorted(infos):
            if used <= limit:
                break
            if size and _drop(Path(path)):
                used -= size
        return used <= limit


def _drop(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if not try_lock(descriptor) or not is_at(descriptor, path):
            return False
        path.unlink()
        return True
    finally:
        os.close(descriptor)


class CachedFiles:
    """The tars of a distant store as files. See `mapped.Files`."""

    def __init__(self, cache: ShardCache, index: Index) -> None:
        self._cache, self._index = cache, index
        self._sizes: list[int] = index.tar_bytes.tolist()

    def open(self, shard: int) -> tuple[int, Path]:
        index = self._index
        return self._cache.open(
            index.names[shard],
            size=self._sizes[shard],
            sha256=index.sha256[shard],
            version=self._version(shard),
        )

    def discard(self, shard: int) -> None:
        self._cache.discard(self._index.names[shard], version=self._version(shard))

    def _version(self, shard: int) -> str:
        index = self._index
        # Of a stranger's tar also when the store got it: other bytes may lie in the same places.
        told = index.sha256[shard] or f"{index.identities[shard]} {index.stamps[shard]}"
        return hashlib.sha256(told.encode()).hexdigest()[:12]
