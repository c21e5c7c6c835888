"""The place in the media cache that one download writes into."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from ingest.errors import EmptyFileError, StorageError

_STEP_BYTES = 64 << 20
"""How far ahead a download of unknown length reserves, in a cache that is large enough for it."""
_HASHED_BYTES = 256 << 10
"""At a time: fits into a core's cache."""


class Slot:
    """A file being written. `position` is how many good bytes it has, from its beginning."""

    about = ""
    """What is to be known of the file later; kept beside it."""

    def __init__(
        self,
        descriptor: int,
        reserve: Callable[[int, int], None],
        limit_bytes: int,
        path: Path | None = None,
    ) -> None:
        """`path`: of the file behind `descriptor`, where something else may be put in its place."""
        self._descriptor = descriptor
        self._path = path
        self._reserve = reserve
        self._limit_bytes = limit_bytes
        self._step_bytes = max(1, min(_STEP_BYTES, limit_bytes // 16))
        self._reserved = 0
        self.position = 0

    def reserve(self, total_bytes: int) -> None:
        """Room for a file of `total_bytes`, before the first of them is written."""
        if total_bytes > self._reserved:
            self._reserve(self._descriptor, total_bytes)
            self._reserved = total_bytes

    def write(self, data: bytes) -> None:
        end = self.position + len(data)
        if end > self._reserved:
            ahead = end + self._step_bytes - end % self._step_bytes
            self.reserve(max(end, min(ahead, self._limit_bytes)))
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, self.position)
            self.position += written
            view = view[written:]

    def restart(self) -> None:
        """Forgets what was written."""
        os.ftruncate(self._descriptor, 0)
        self._reserved = 0
        self.position = 0

    @property
    def descriptor(self) -> int:
        return self._descriptor

    def work_folder(self) -> Path:
        """A folder for what a download makes on its way; it outlives a kill, so that the next try goes on."""
        folder = self._own_path().with_suffix(".work")
        folder.mkdir(exist_ok=True)
        return folder

    def adopt(self, file: Path) -> None:
        """Takes `file`, of the work folder, as the content: moved, not copied.

        The lock that others wait for is on the old file. They look again when it is closed, and wait for
        the new one's.
        """
        path = self._own_path()
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        file.rename(path)
        old, self._descriptor = self._descriptor, descriptor
        os.close(old)
        self.position = self._reserved = os.fstat(descriptor).st_size

    def sha256(self) -> str:
        """Of what was written."""
        digest, at = hashlib.sha256(), 0
        while chunk := os.pread(self._descriptor, min(_HASHED_BYTES, self.position - at), at):
            digest.update(chunk)
            at += len(chunk)
        return digest.hexdigest()

    def _own_path(self) -> Path:
        if self._path is None:
            raise StorageError("this place of the cache has no folder to work in; give it a path")
        return self._path

    def finish(self) -> None:
        """Cuts the file to what was written, and makes it survive a crash.

        Raises:
            EmptyFileError: nothing was written.
        """
        if self.position == 0:
            raise EmptyFileError("the transfer holds no bytes; check the address")
        os.ftruncate(self._descriptor, self.position)
        os.fsync(self._descriptor)
