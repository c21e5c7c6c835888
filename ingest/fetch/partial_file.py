"""The place in the media cache that one download writes into."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from mien.ingest.errors import EmptyFileError, StorageError
from mien.ingest.fetch import resume_info
from mien.ingest.fetch.resume_info import ResumeInfo
from mien.ingest.storage.file_locks import is_at, lock

_STEP_BYTES = 64 << 20
"""How far ahead a download of unknown length reserves, in a cache that is large enough for it."""
_HASHED_BYTES = 256 << 10
"""At a time: fits into a core's cache."""
NOTE_BYTES = 16 << 20
"""As much at most is had again after a kill."""


class PartialFile:
    """A file being written. `position` is how many good bytes it has, from its beginning."""

    about = ""
    """What is to be known of the file later; kept beside it."""
    is_continued = False
    """Whether it began with what another download had left."""

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
        self._left: ResumeInfo | None = None
        self.proof: tuple[int, str] | None = None
        """Of what the beginning is: the whole length in bytes, and the validator."""
        self._noted_bytes = 0
        self.position = 0

    def begin(self) -> None:
        """Forgets what is there, but for what `go_on` can take up."""
        self._left = resume_info.read(self._path) if self._path is not None else None
        if self._left is None:
            self.restart()
        else:
            os.ftruncate(self._descriptor, self._left.position)

    def go_on(self) -> ResumeInfo | None:
        """Takes up what a download left that broke off: `position` is where that ended. None: there is
        nothing. Who does not ask begins at 0, and it is lost."""
        left, self._left = self._left, None
        if left is not None:
            self.position = self._reserved = self._noted_bytes = left.position
            self.is_continued = True
            self.prove(left.total_bytes, left.validator)
        return left

    def prove(self, total_bytes: int, validator: str) -> None:
        """Says how the rest can be had, should this download break off: from now on that is noted."""
        self.proof = (total_bytes, validator)

    def leave(self, error: BaseException) -> bool:
        """Whether a download that `error` breaks off here can be gone on with; gives back the room of the
        rest."""
        if self._left is not None:
            return True  # it did not come so far as to look
        if self.proof is None or not resume_info.may_go_on(error):
            return False
        if not resume_info.WORTH_BYTES <= self.position < self.proof[0]:
            return False
        with suppress(OSError):  # a full or broken disk: then it is begun anew
            os.ftruncate(self._descriptor, self.position)
            if self.position > self._noted_bytes:  # else the note grows old
                self._note()
            return True
        return False

    def _note(self) -> None:
        if self._path is not None and self.proof is not None and is_at(self._descriptor, self._path):
            os.fdatasync(self._descriptor)  # what is noted must be there after a crash
            total_bytes, validator = self.proof
            resume_info.write(
                self._path, ResumeInfo(position=self.position, total_bytes=total_bytes, validator=validator)
            )
            self._noted_bytes = self.position

    def reserve(self, total_bytes: int) -> None:
        """Room for a file of `total_bytes`, before the first of them is written."""
        self._settle()
        if total_bytes > self._reserved:
            self._reserve(self._descriptor, total_bytes)
            self._reserved = total_bytes

    def write(self, data: bytes) -> None:
        self._settle()
        end = self.position + len(data)
        if end > self._reserved:
            ahead = end + self._step_bytes - end % self._step_bytes
            self.reserve(max(end, min(ahead, self._limit_bytes)))
        view = memoryview(data)
        while view:
            written = os.pwrite(self._descriptor, view, self.position)
            self.position += written
            view = view[written:]
        if self.proof is not None and self.position - self._noted_bytes >= NOTE_BYTES:
            self._note()

    def restart(self) -> None:
        """Forgets what was written."""
        if self._path is not None:
            resume_info.forget(self._path)
        os.ftruncate(self._descriptor, 0)
        self.position = self._reserved = self._noted_bytes = 0
        self._left = self.proof = None
        self.is_continued = False

    def _settle(self) -> None:
        """Who writes without having asked for what was left begins at 0."""
        if self._left is not None:
            self.restart()

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
        self._settle()
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        lock(descriptor)
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
