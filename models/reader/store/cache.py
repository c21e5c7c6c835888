"""A bounded cache of shards from a remote store, shared by all processes of a machine.

`<folder>/<name>@<version>` is a complete, verified shard. The version is derived from the shard's identity in
the index, so a shard that was replaced under the same name is not confused with the earlier one.

A download is written to `….part` and then renamed. The downloading process holds a lock on the part file, so
the others wait for it, and a part file with a free lock was left by a killed process. A process that uses a
shard holds a shared lock on it. To make room, the cache deletes the least recently used shards that nobody
has locked. Room is reserved by giving the part file its final length at once.
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
from mien.ingest.storage.file_locks import is_at, locked, try_lock, wait_lock
from mien.models.reader.corpus.index import Index

PART = ".part"
_CHUNK_BYTES = 16 << 20


class DamagedDownloadError(StorageError):
    """The downloaded bytes differ from the index, after all retries."""


class TruncatedDownloadError(DamagedDownloadError):
    pass


class NoRoomError(StorageError):
    policy = Policy.PERMANENT


class ShardCache:
    """Every method raises OSError if the folder cannot be read or written."""

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
        """`secrets`: strings that messages must not contain. `release`: closes shards that this process holds
        but can reopen; called if there is not enough room."""
        self._store, self._folder, self._max_bytes = store, folder, max_bytes
        self._timeout_seconds, self._secrets, self._release = timeout_seconds, secrets, release

    def open(self, name: str, *, size: int, sha256: str, version: str = "") -> tuple[int, Path]:
        """A descriptor of the shard, downloaded if it is not in the cache. The file is not deleted while the
        descriptor is open. `version` distinguishes shards with the same name.

        Raises:
            StorageMissingError: the store has no such shard.
            DamagedDownloadError: its bytes differ from the index.
            NoRoomError: the cache is too small for the shards in use.
            StorageFullError: the disk is full.
            StorageError: the store cannot be read.
            LoaderTimeoutError: another process downloads the shard and does not finish.
        """
        path = self._path(name, version)
        while True:
            with suppress(FileNotFoundError):
                descriptor = os.open(path, os.O_RDWR)
                # Otherwise the file was deleted or replaced between opening and locking it.
                if try_lock(descriptor, shared=True) is not False and is_at(descriptor, path):
                    if os.fstat(descriptor).st_size == size or size < 0:
                        os.utime(descriptor)
                        return descriptor, path
                    path.unlink()
                os.close(descriptor)
            fetched = self._fetch(name, path, size, sha256)
            if fetched is not None:
                return fetched, path

    def discard(self, name: str, *, version: str = "") -> None:
        """Deletes the file. Processes that have it open keep reading it; the next `open` downloads a new
        copy."""
        self._path(name, version).unlink(missing_ok=True)

    def _path(self, name: str, version: str) -> Path:
        return self._folder / (f"{name}@{version}" if version else name)

    def _fetch(self, name: str, path: Path, size: int, sha256: str) -> int | None:
        """A descriptor of the downloaded file; None if another process downloaded it first."""
        self._folder.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f"{path.name}{PART}")
        descriptor = os.open(part, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            wait_lock(
                descriptor,
                f"downloads {self._store.uri}/{name}",
                timeout_seconds=self._timeout_seconds,
                needed=lambda: is_at(descriptor, part),  # after the rename, users hold this lock
            )
            if is_at(descriptor, part):
                if not path.exists():
                    self._make_room(descriptor, max(size, 0))
                    retried(lambda: self._download(name, descriptor, size, sha256))
                    part.rename(path)
                    try_lock(descriptor, shared=True)  # turns the downloader's lock into a user's lock
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
            raise kind(f"{uri}: received {at} bytes, the index says {size}")
        if sha256 and hashed.hexdigest() != sha256:
            raise DamagedDownloadError(
                f"{uri}: sha256 is {hashed.hexdigest()[:16]}…, the index says {sha256[:16]}…"
            )

    def _make_room(self, part: int, size: int) -> None:
        for last in (False, True):
            with locked(self._folder / ".room", "makes room", timeout_seconds=self._timeout_seconds):
                if self._delete_until(self._max_bytes - size):
                    os.ftruncate(part, size)
                    return
            if not last:
                self._release()
        raise NoRoomError(
            f"{self._folder}: {size >> 20} MB do not fit into the cache of {self._max_bytes >> 20} MB beside "
            "the shards in use; increase cache_bytes to read faster"
        )

    def _delete_until(self, limit: int) -> bool:
        """Deletes the least recently used shards until at most `limit` bytes remain; False if that is
        impossible."""
        infos = []
        for entry in os.scandir(self._folder):
            with suppress(FileNotFoundError):
                infos.append((entry.stat().st_mtime, entry.stat().st_size, entry.path))
        used = sum(size for _, size, _ in infos)
        for _, size, path in sorted(infos):
            if used <= limit:
                break
            if size and _delete_unused(Path(path)):
                used -= size
        return used <= limit


def _delete_unused(path: Path) -> bool:
    try:
        descriptor = os.open(path, os.O_RDWR)
    except FileNotFoundError:
        return False
    try:
        if try_lock(descriptor) is False or not is_at(descriptor, path):
            return False
        path.unlink()
        return True
    finally:
        os.close(descriptor)


class CachedFiles:
    """The tars of a remote store as local files. See `mapped.Files`."""

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
        # The identity of a foreign tar covers only its headers, so its modification time is included.
        identity = index.sha256[shard] or f"{index.identities[shard]} {index.stamps[shard]}"
        return hashlib.sha256(identity.encode()).hexdigest()[:12]
