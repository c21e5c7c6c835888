"""Memory-mapped tars on a local disk. Reading a member copies nothing: it is a view of the page cache."""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """Tars as local files."""

    def open(self, shard: int) -> tuple[int, Path]:
        """A descriptor for reading, which the caller must close, and the path for messages.

        Raises FileNotFoundError, other OSErrors, StorageError.
        """
        ...


class LocalFiles:
    def __init__(self, folder: Path, names: list[str]) -> None:
        self._folder, self._names = folder, names

    def open(self, shard: int) -> tuple[int, Path]:
        path = self._folder / self._names[shard]
        return os.open(path, os.O_RDONLY), path


class MappedTar:
    """Raises OSError."""

    __slots__ = ("_descriptor", "path", "view")

    def __init__(self, descriptor: int, path: Path) -> None:
        self._descriptor, self.path = descriptor, path
        try:
            empty = os.fstat(descriptor).st_size == 0  # mmap rejects empty files
            self.view = memoryview(b"" if empty else mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def size(self) -> int:
        """The file's current size. Reading mapped bytes beyond it would kill the process (SIGBUS)."""
        return os.fstat(self._descriptor).st_size

    def __del__(self) -> None:
        if hasattr(self, "view"):
            os.close(self._descriptor)


class MappedTars:
    """The most recently used tars. An evicted tar stays mapped while a view of it exists."""

    def __init__(self, files: Files, limit: int) -> None:
        self._files, self._limit = files, limit
        self._open: OrderedDict[int, MappedTar] = OrderedDict()

    def __getitem__(self, shard: int) -> MappedTar:
        """Raises OSError, StorageError."""
        tar = self._open.get(shard)
        if tar is None:
            while len(self._open) >= self._limit:
                self._open.popitem(last=False)
            tar = self._open[shard] = MappedTar(*self._files.open(shard))
        else:
            self._open.move_to_end(shard)
        return tar

    def drop(self, shard: int) -> None:
        """Evicts one tar. Existing views stay valid; the next access opens the file with this name again."""
        self._open.pop(shard, None)

    def clear(self) -> None:
        self._open.clear()
