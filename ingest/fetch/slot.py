"""The place in the media cache that one download writes into."""

from __future__ import annotations

import os
from collections.abc import Callable

from ingest.errors import EmptyFileError

_STEP_BYTES = 64 << 20
"""How far ahead a download of unknown length reserves, in a cache that is large enough for it."""


class Slot:
    """A file being written. `position` is how many good bytes it has, from its beginning."""

    def __init__(self, descriptor: int, reserve: Callable[[int, int], None], limit_bytes: int) -> None:
        self._descriptor = descriptor
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

    def finish(self) -> None:
        """Cuts the file to what was written, and makes it survive a crash.

        Raises:
            EmptyFileError: nothing was written.
        """
        if self.position == 0:
            raise EmptyFileError("the transfer holds no bytes; check the address")
        os.ftruncate(self._descriptor, self.position)
        os.fsync(self._descriptor)
