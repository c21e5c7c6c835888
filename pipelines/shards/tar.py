"""A tar written as a stream: hash, size and each member's place come out of the writing itself.

POSIX ustar (IEEE Std 1003.1), one 512-byte header a member, the same bytes for the same samples: no times,
no owners. A key that is too long for a ustar name gets a PAX header, which every reader knows.
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
    """A member's content in its tar: bytes from the tar's start, length, and zlib.crc32 of those bytes."""

    offset: int
    size: int
    crc32: int


class _Hashed:
    """Writes through, counting and hashing."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._file.write(data)
        self.sha256.update(data)
        self.size += len(data)


class TarWriter:
    """Appends samples to `path`, which must not exist; nothing of it counts before `close()` has returned."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file = path.open("xb")
        self._out = _Hashed(self._file)

    @property
    def size(self) -> int:
        return self._out.size

    def append(self, sample: Sample) -> dict[str, Place]:
        """Writes the members; gives each one's place by its extension."""
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
        """Ends the archive, forces it to the disk, and gives its sha256."""
        self._out.write(b"\0" * (2 * BLOCK))
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        return self._out.sha256.hexdigest()

    def abandon(self) -> None:
        with suppress(OSError):  # what is still buffered may not fit either
            self._file.close()
        self.path.unlink(missing_ok=True)
