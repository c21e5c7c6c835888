"""The cache of indexes, `<cache>/index/<corpus>/<listing>/`.

The first process that needs an index builds it, completely or not at all. Old indexes are deleted once newer
ones exist and no process has them open.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from mien.ingest.errors import StorageError
from mien.ingest.storage import Store
from mien.ingest.storage.file_locks import locked, try_lock
from mien.models.reader.corpus.build import build_index
from mien.models.reader.corpus.index import Index
from mien.models.reader.corpus.listing import ShardListing
from mien.models.reader.log import logger
from mien.pipelines.data import SCHEMA_VERSION

STORED_INDEXES = 3
"""Indexes per corpus that stay in the cache even when they are not in use."""
FORMAT = 2
"""Version of the index's files. Indexes of another version are rebuilt."""
_IN_USE = "in-use"
_FORMAT_MARK = f"{FORMAT}-{SCHEMA_VERSION}-"
BUILD_TIMEOUT_SECONDS = 3600.0


def default_cache() -> Path:
    from platformdirs import user_cache_path

    return user_cache_path("mien") / "reader"


class IndexCache:
    def __init__(self, cache: Path, uri: str) -> None:
        self._folder = cache / "index" / _short(uri)

    def open(self, store: Store, shards: list[ShardListing]) -> tuple[Index, int]:
        """The index of exactly these shards, built if it does not exist, and a descriptor. The index is not
        deleted while the descriptor is open.

        Raises SidecarError, SidecarVersionError, StorageError, and LoaderTimeoutError if another process
        builds the index and does not finish.
        """
        listing = "\n".join(f"{s.name} {s.tar_bytes} {s.has_sidecar} {s.stamp}" for s in shards)
        folder = self._folder / f"{_FORMAT_MARK}{_short(listing)}"
        damaged: list[Path] = []
        try:
            while True:
                if (lock := _lock_for_use(folder)) is not None:
                    if (index := _open_or_none(folder)) is not None:
                        return index, lock
                    os.close(lock)
                    if damaged:
                        raise StorageError(
                            f"{folder}: an index that was just built cannot be read; check the disk"
                        )
                    logger.warning("%s: this index is damaged and will be rebuilt", folder)
                    damaged.append(folder)
                what = f"builds the index of {store.uri}"
                with locked(self._folder / "building", what, timeout_seconds=BUILD_TIMEOUT_SECONDS):
                    if not (folder / _IN_USE).exists() or _open_or_none(folder) is None:
                        shutil.rmtree(folder, ignore_errors=True)  # half deleted by a killed process
                        self._build(store, shards, folder)
                    self._delete_old(folder)
        except OSError as error:
            raise StorageError(
                f"index cache {self._folder}: {error}; fix the problem or pass cache_dir"
            ) from error

    def _build(self, store: Store, shards: list[ShardListing], folder: Path) -> None:
        temporary = self._folder / f".{uuid.uuid4().hex}"
        temporary.mkdir(parents=True)
        lock, older = None, None
        try:
            newest = next((path for path in self._by_age() if path.name.startswith(_FORMAT_MARK)), None)
            if newest is not None and (lock := _lock_for_use(newest)) is not None:
                older = _open_or_none(newest)
            build_index(store, shards, temporary, older=older)
            (temporary / _IN_USE).touch()
            temporary.rename(folder)
        finally:
            if lock is not None:
                os.close(lock)
            shutil.rmtree(temporary, ignore_errors=True)

    def _by_age(self) -> list[Path]:
        found = [path for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)

    def _delete_old(self, new: Path) -> None:
        # This process holds the lock for building, so hidden folders were left by killed processes.
        for path in self._folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in [path for path in self._by_age() if path != new][STORED_INDEXES - 1 :]:
            with suppress(OSError):
                descriptor = os.open(path / _IN_USE, os.O_RDWR)
                try:
                    if try_lock(descriptor) is not False:
                        (path / _IN_USE).unlink()  # first, so that no process starts to use it
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(descriptor)


def _lock_for_use(folder: Path) -> int | None:
    """A descriptor with a shared lock that marks the index as in use; None if there is no index."""
    try:
        descriptor = os.open(folder / _IN_USE, os.O_RDWR)
    except FileNotFoundError:
        return None
    if try_lock(descriptor, shared=True) is not False and (folder / _IN_USE).exists():
        return descriptor
    os.close(descriptor)  # another process is deleting it
    return None


def _open_or_none(folder: Path) -> Index | None:
    """None if the index cannot be read, for example after a full disk or a crash of the machine."""
    import pyarrow as pa

    try:
        return Index(folder)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
