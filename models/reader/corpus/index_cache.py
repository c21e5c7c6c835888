"""Where indexes are kept: `<cache>/index/<corpus>/<listing>/`, each made once by whoever comes first, whole
or not at all, and dropped when newer ones have taken its place and nobody has it open."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from contextlib import suppress
from pathlib import Path

from mien.ingest.errors import StorageError
from mien.ingest.storage import Store
from mien.models.reader.corpus.build import build_index
from mien.models.reader.corpus.index import Index
from mien.models.reader.corpus.listing import ShardListing
from mien.models.reader.locks import locked, logger, try_lock
from mien.pipelines.data import SCHEMA_VERSION

KEPT = 3
"""Indexes of a corpus that are kept beside those in use."""
FORMAT = 2
"""Of the index's files: those of another one are made anew."""
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
        """The index of exactly these shards, made where it is not there yet, and a descriptor that keeps it
        from being dropped until it is closed.

        Raises SidecarError, SidecarVersionError, StorageError, and LoaderTimeoutError where another
        process makes it and does not come to an end.
        """
        told = "\n".join(f"{s.name} {s.tar_bytes} {s.has_sidecar} {s.stamp}" for s in shards)
        folder = self._folder / f"{_FORMAT_MARK}{_short(told)}"
        damaged: list[Path] = []
        try:
            while True:
                if (held := _hold(folder)) is not None:
                    if (index := _index(folder)) is not None:
                        return index, held
                    os.close(held)
                    if damaged:
                        raise StorageError(f"{folder}: an index just made cannot be read; look at the disk")
                    logger.warning("%s: this index is damaged; it is made anew", folder)
                    damaged.append(folder)
                what = f"makes the index of {store.uri}"
                with locked(self._folder / "building", what, timeout_seconds=BUILD_TIMEOUT_SECONDS):
                    if not (folder / _IN_USE).exists() or _index(folder) is None:
                        shutil.rmtree(folder, ignore_errors=True)  # half dropped by one who died
                        self._build(store, shards, folder)
                    self._drop_old(folder)
        except OSError as error:
            raise StorageError(f"index cache {self._folder}: {error}; mend it or give cache_dir") from error

    def _build(self, store: Store, shards: list[ShardListing], folder: Path) -> None:
        growing = self._folder / f".{uuid.uuid4().hex}"
        growing.mkdir(parents=True)
        held, older = None, None
        try:
            newest = next((path for path in self._by_age() if path.name.startswith(_FORMAT_MARK)), None)
            if newest is not None and (held := _hold(newest)) is not None:
                older = _index(newest)
            build_index(store, shards, growing, older=older)
            (growing / _IN_USE).touch()
            growing.rename(folder)
        finally:
            if held is not None:
                os.close(held)
            shutil.rmtree(growing, ignore_errors=True)

    def _by_age(self) -> list[Path]:
        found = [path for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return sorted(found, key=lambda path: path.stat().st_mtime, reverse=True)

    def _drop_old(self, new: Path) -> None:
        # Who builds holds the lock, so what is hidden belongs to one who died.
        for path in self._folder.glob(".*"):
            shutil.rmtree(path, ignore_errors=True)
        for path in [path for path in self._by_age() if path != new][KEPT - 1 :]:
            with suppress(OSError):
                descriptor = os.open(path / _IN_USE, os.O_RDWR)
                try:
                    if try_lock(descriptor):
                        (path / _IN_USE).unlink()  # first: from now on nobody begins to use it
                        shutil.rmtree(path, ignore_errors=True)
                finally:
                    os.close(descriptor)


def _hold(folder: Path) -> int | None:
    """A descriptor whose shared lock says that the index is in use; None where there is no index."""
    try:
        descriptor = os.open(folder / _IN_USE, os.O_RDWR)
    except FileNotFoundError:
        return None
    if try_lock(descriptor, shared=True) and (folder / _IN_USE).exists():
        return descriptor
    os.close(descriptor)  # it is being dropped
    return None


def _index(folder: Path) -> Index | None:
    """None where it cannot be read: a disk that was full or a machine that went down left it so."""
    import pyarrow as pa

    try:
        return Index(folder)
    except (pa.ArrowException, OSError, KeyError, ValueError):
        return None


def _short(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:24]
