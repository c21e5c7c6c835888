"""Writes a tar as a stream, and computes its hash, its size and the place of each member while writing.

The format is POSIX ustar (IEEE Std 1003.1) with one 512-byte header per member. The same samples give the
same bytes, because no times or owners are stored. A key that is too long for a ustar name gets a PAX header.
"""

from __future__ import annotations

import hashlib
import os
import tarfile
import zlib
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mien.pipelines.data import Sample

BLOCK = 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where a member's content is stored in its tar: offset and size in bytes, and its zlib.crc32."""

    offset: int
    size: int
    crc32: int


class _HashingFile:
    """Passes bytes to a file; counts and hashes them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)


class TarWriter:
    """Appends samples to the new file `path`. The tar is complete only after `close()` has returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb")
        self._out = _HashingFile(self._file)

    @property
    def size(self) -> int:
        return self._out.size

    def append(self, sample: Sample) -> dict[str, Place]:
        """Writes the members of a sample, and returns their places by extension."""
        places = {}
        for extension, data in sample.members.items():
            info = tarfile.TarInfo(f"{sample.key}.{extension}")
            info.size = len(data)
            info.mode = 0o644
            self._out.write(info.tobuf(tarfile.PAX_FORMAT, errors="strict"))
            places[extension] = Place(offset=self._out.size, size=len(data), crc32=zlib.crc32(data))
            self._out.write(data)
            self._out.write(b"\0" * (-len(data) % BLOCK))
        return places

    def close(self) -> str:
        """Ends the archive, flushes it to the disk (fsync), and returns its sha256."""
        self._out.write(b"\0" * (2 * BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._out.sha256.hexdigest()

    def abandon(self) -> None:
        """Closes and deletes the unfinished tar."""
        with suppress(OSError):  # closing flushes the buffer, which may not fit on the disk
            self._file.close()
        self.path.unlink(missing_ok=True)
