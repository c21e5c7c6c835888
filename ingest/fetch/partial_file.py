"""The file in the media cache that one download writes."""

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
"""How far ahead a download of unknown length reserves, if the cache is large enough."""
_HASHED_BYTES = 256 << 10
"""Chunk size; fits into a core's cache."""
NOTE_BYTES = 16 << 20
"""At most this much is fetched again after a kill."""


class PartialFile:
    """A file being written. `position` is the number of valid bytes from its beginning."""

    about = ""
    """Metadata that is stored beside the file."""
    is_continued = False
    """Whether it continues an interrupted download."""

    def __init__(
        self,
        descriptor: int,
        reserve: Callable[[int, int], None],
        limit_bytes: int,
        path: Path | None = None,
    ) -> None:
        """`path`: the path of the file behind `descriptor`, where a note or another file may be put."""
        self._descriptor = descriptor
        self._path = path
        self._reserve = reserve
        self._limit_bytes = limit_bytes
        self._step_bytes = max(1, min(_STEP_BYTES, limit_bytes // 16))
        self._reserved = 0
        self._resumable: ResumeInfo | None = None
        self.proof: tuple[int, str] | None = None
        """What identifies the file: its total length in bytes, and the validator."""
        self._noted_bytes = 0
        self.position = 0

    def begin(self) -> None:
        """Drops the content, except what `resume` can continue."""
        self._resumable = resume_info.read(self._path) if self._path is not None else None
        if self._resumable is None:
            self.restart()
        else:
            os.ftruncate(self._descriptor, self._resumable.position)

    def resume(self) -> ResumeInfo | None:
        """Continues an interrupted download at `position`; None if there is none.

        A writer that does not call this starts at 0, and the earlier content is lost.
        """
        info, self._resumable = self._resumable, None
        if info is not None:
            self.position = self._reserved = self._noted_bytes = info.position
            self.is_continued = True
            self.prove(info.total_bytes, info.validator)
        return info

    def prove(self, total_bytes: int, validator: str) -> None:
        """Records how an interruption of this download can be resumed; from now on notes are written."""
        self.proof = (total_bytes, validator)

    def save_for_resume(self, error: BaseException) -> bool:
        """Whether a download interrupted by `error` can be resumed; releases the room of the rest."""
        if self._resumable is not None:
            return True  # the earlier content was not read yet
        if self.proof is None or not resume_info.is_resumable(error):
            return False
        if not resume_info.WORTH_BYTES <= self.position < self.proof[0]:
            return False
        with suppress(OSError):  # a full or broken disk: the download starts over
            os.ftruncate(self._descriptor, self.position)
            if self.position > self._noted_bytes:  # otherwise the note would be renewed without progress
                self._note()
            return True
        return False

    def _note(self) -> None:
        if self._path is not None and self.proof is not None and is_at(self._descriptor, self._path):
            os.fdatasync(self._descriptor)  # the noted bytes must survive a crash
            total_bytes, validator = self.proof
            resume_info.write(
                self._path, ResumeInfo(position=self.position, total_bytes=total_bytes, validator=validator)
            )
            self._noted_bytes = self.position

    def reserve(self, total_bytes: int) -> None:
        """Reserves room for a file of `total_bytes` before its first byte is written."""
        self._start()
        if total_bytes > self._reserved:
            self._reserve(self._descriptor, total_bytes)
            self._reserved = total_bytes

    def write(self, data: bytes) -> None:
        self._start()
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
        """Drops everything that was written."""
        if self._path is not None:
            resume_info.forget(self._path)
        os.ftruncate(self._descriptor, 0)
        self.position = self._reserved = self._noted_bytes = 0
        self._resumable = self.proof = None
        self.is_continued = False

    def _start(self) -> None:
        """A writer that did not resume starts at 0."""
        if self._resumable is not None:
            self.restart()

    @property
    def descriptor(self) -> int:
        return self._descriptor

    def work_folder(self) -> Path:
        """A folder for intermediate files; it survives a kill, so the next attempt resumes there."""
        folder = self._own_path().with_suffix(".work")
        folder.mkdir(exist_ok=True)
        return folder

    def adopt(self, file: Path) -> None:
        """Makes `file`, from the work folder, the content; it is moved, not copied.

        Other processes wait for the lock on the old file. When it is closed, they open the file again and
        wait for the lock on the new one.
        """
        path = self._own_path()
        self._start()
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
        lock(descriptor)
        file.rename(path)
        old, self._descriptor = self._descriptor, descriptor
        os.close(old)
        self.position = self._reserved = os.fstat(descriptor).st_size

    def sha256(self) -> str:
        """The hash of everything written."""
        digest, at = hashlib.sha256(), 0
        while chunk := os.pread(self._descriptor, min(_HASHED_BYTES, self.position - at), at):
            digest.update(chunk)
            at += len(chunk)
        return digest.hexdigest()

    def _own_path(self) -> Path:
        if self._path is None:
            raise StorageError("a partial file without a path has no work folder; give it a path")
        return self._path

    def finish(self) -> None:
        """Truncates the file to what was written, and syncs it to disk.

        Raises:
            EmptyFileError: nothing was written.
        """
        if self.position == 0:
            raise EmptyFileError("the transfer holds no bytes; check the address")
        os.ftruncate(self._descriptor, self.position)
        os.fsync(self._descriptor)
