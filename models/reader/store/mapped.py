"""A tar on this machine's disk, mapped: reading a member copies nothing, the page cache is the buffer."""

from __future__ import annotations

import mmap
import os
from collections import OrderedDict
from pathlib import Path
from typing import Protocol


class Files(Protocol):
    """Tars as local files."""

    def open(self, shard: int) -> tuple[int, Path]:
        """A descriptor for reading, which the caller closes, and the path for messages.

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
            empty = os.fstat(descriptor).st_size == 0  # which mmap refuses
            self.view = memoryview(b"" if empty else mmap.mmap(descriptor, 0, access=mmap.ACCESS_READ))
        except BaseException:
            os.close(descriptor)
            raise

    @property
    def size(self) -> int:
        """Of the file as it is now: touching what was cut off since would kill the process (SIGBUS)."""
        return os.fstat(self._descriptor).st_size

    def __del__(self) -> None:
        if hasattr(self, "view"):
            os.close(self._descriptor)


class MappedTars:
    """The tars used last. One that is put aside stays mapped while a view of it lives."""

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
        """What is given out stays; who asks again gets the file that has this name by then."""
        self._open.pop(shard, None)

    def clear(self) -> None:
        self._open.clear()
