"""A folder as a store. link(2) makes publishing atomic: it never replaces an existing name."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from mien.ingest.errors import StorageConflictError, UsageError
from mien.ingest.storage.error_mapping import retried, translated
from mien.ingest.storage.store import Entry, Store, check_name, is_name

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp")
# Causes: another file system; one without links (FAT, some FUSE mounts); too many links to the file; or
# another owner under fs.protected_hardlinks. Copying still works.
_CANNOT_LINK = frozenset(
    {errno.EXDEV, errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS, errno.EACCES}
)


class LocalStore(Store):
    def __init__(self, folder: Path) -> None:
        self.folder = folder.absolute()
        self.uri = str(self.folder)

    def publish(self, local_path: Path, name: str) -> str:
        final = self.folder / check_name(name)
        return retried(lambda: self._publish(local_path, final))

    def publish_bytes(self, data: bytes, name: str) -> str:
        final = self.folder / check_name(name)

        def write() -> str:
            with translated(f"writing {final}"):
                if self._is_published(hashlib.sha256(data).digest(), len(data), final):
                    return str(final)
                with self._temporary(name) as (file, path):
                    file.write(data)
                    _sync(file)
                    self._reveal(path, final)
                return str(final)

        return retried(write)

    def _publish(self, source: Path, final: Path) -> str:
        with translated(f"publishing {source} as {final}"):
            self.folder.mkdir(parents=True, exist_ok=True)
            with source.open("rb") as file:
                if final.exists() and self._is_published(
                    hashlib.file_digest(file, "sha256").digest(), os.fstat(file.fileno()).st_size, final
                ):
                    return str(final)
                os.fsync(file.fileno())
                try:
                    final.hardlink_to(source)
                except OSError as error:
                    if error.errno not in _CANNOT_LINK:
                        raise
                    with self._temporary(final.name) as (copy, path):
                        file.seek(0)
                        shutil.copyfileobj(file, copy, 1 << 20)
                        _sync(copy)
                        self._reveal(path, final)
            _sync_folder(self.folder)
        return str(final)

    def _is_published(self, digest: bytes, size: int, final: Path) -> bool:
        """Whether `final` already has these bytes. Raises StorageConflictError if it has other bytes."""
        if not final.exists():
            return False
        with final.open("rb") as file:
            same = os.fstat(file.fileno()).st_size == size
            if same and hashlib.file_digest(file, "sha256").digest() == digest:
                return True
        raise StorageConflictError(f"{final}: the name is taken by other bytes; use a unique name")

    @contextmanager
    def _temporary(self, name: str) -> Iterator[tuple[BinaryIO, Path]]:
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / f".{name}.{secrets.token_hex(6)}.tmp"
        try:
            with path.open("xb") as file:
                yield file, path
        finally:
            path.unlink(missing_ok=True)

    def _reveal(self, temporary: Path, final: Path) -> None:
        try:
            final.hardlink_to(temporary)
        except OSError as error:
            if error.errno not in _CANNOT_LINK:
                raise
            # Without links, a file that another process publishes at this moment can be replaced. Names are
            # unique by contract.
            if final.exists():
                raise StorageConflictError(f"{final}: the name is taken; use a unique name") from error
            temporary.rename(final)
        _sync_folder(self.folder)

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if offset < 0 or (length is not None and length < 0):
            raise UsageError(f"{name}: got {offset = }, {length = }; both must be at least 0")
        path = self.folder / check_name(name)

        def read() -> bytes:
            with translated(f"reading {path}"), path.open("rb") as file:
                file.seek(offset)
                return file.read() if length is None else file.read(length)

        return retried(read)

    def open(self, name: str) -> BinaryIO:
        path = self.folder / check_name(name)
        with translated(f"reading {path}"):
            return path.open("rb")

    def list(self, suffix: str = "") -> list[Entry]:
        found: list[Entry] = []
        with translated(f"listing {self.folder}"):
            try:
                entries = os.scandir(self.folder)
            except FileNotFoundError:
                return []
            with entries:
                for entry in entries:
                    # A file may be deleted between listing it and reading its size.
                    with suppress(FileNotFoundError):
                        if is_name(entry.name) and entry.name.endswith(suffix) and entry.is_file():
                            info = entry.stat()
                            found.append(Entry(name=entry.name, bytes=info.st_size, modified=info.st_mtime))
        return sorted(found, key=lambda entry: entry.name)

    def exists(self, name: str) -> bool:
        path = self.folder / check_name(name)
        with translated(f"checking {path}"):
            return path.is_file()

    def delete(self, name: str) -> None:
        path = self.folder / check_name(name)
        with translated(f"deleting {path}"):
            path.unlink(missing_ok=True)

    def sweep(
        self,
        prefix: str = "",
        older_than_seconds: float = 3600.0,
        *,
        abandoned: Callable[[str], bool] = lambda name: True,
    ) -> int:
        limit = time.time() - older_than_seconds
        removed = 0
        with translated(f"sweeping {self.folder}"):
            for path in self.folder.glob(".*.tmp"):
                match = _TEMPORARY.fullmatch(path.name)
                if match is None or not match[1].startswith(prefix):
                    continue
                with suppress(FileNotFoundError):
                    if path.stat().st_mtime <= limit and abandoned(match[1]):
                        path.unlink()
                        removed += 1
        return removed

    def check_writable(self, name: str = "mien-write-check") -> None:
        with translated(f"writing to {self.folder}"), self._temporary(check_name(name)) as (file, _):
            # More than a file system stores inside an inode, so a full disk is detected.
            file.write(bytes(1 << 16))
            _sync(file)


def _sync(file: BinaryIO) -> None:
    file.flush()
    os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some network file systems cannot sync a folder; they commit names themselves.
        if error.errno not in {errno.EINVAL, errno.ENOTSUP, errno.EBADF}:
            raise
    finally:
        os.close(descriptor)
