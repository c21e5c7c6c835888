"""A prefix of an object store (S3, GCS, Azure) as a store, through `pyarrow.fs`.

An upload becomes visible only when it is complete, so a killed writer leaves nothing that readers can see.
S3 stores the parts of incomplete uploads: give the bucket a lifecycle rule that aborts them.

Publishing checks whether the name exists and then uploads, so two publishers of one name can race: the later
upload wins. Names contain the run id, so this needs two processes of one run. obstore 0.12.1 has a
conditional put (`mode="create"`) that closes the race. It was measured and not adopted: it sends one PUT of
at most 5 GiB, holds the file in memory twice (523 MB for a file of 256 MB), and ignores AWS profile files.
"""

from __future__ import annotations

import hashlib
import io
import re
import secrets
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, BinaryIO, TypeVar, cast
from urllib.parse import urlsplit, urlunsplit

from mien.ingest.errors import (
    StorageConflictError,
    StorageDeniedError,
    StorageError,
    UsageError,
)
from mien.ingest.storage.error_mapping import retried, translated
from mien.ingest.storage.location import open_filesystem, secrets_of
from mien.ingest.storage.store import Entry, Store, check_name, is_name

Result = TypeVar("Result")

_TEMPORARY = re.compile(r"\.(.+)\.[0-9a-f]{12}\.tmp")
_CHUNK_BYTES = 8 << 20


class ObjectStore(Store):
    def __init__(self, uri: str, options: dict[str, Any]) -> None:
        self._secrets = secrets_of(options)
        parts = urlsplit(uri)
        self.uri = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        with translated(f"opening {self.uri}", self._secrets):
            self.filesystem, self._prefix = open_filesystem(uri, **options)

    def _path(self, name: str) -> str:
        return f"{self._prefix}/{check_name(name)}"

    def _do(self, doing: str, action: Callable[[], Result]) -> Result:
        def once() -> Result:
            with translated(f"{doing} in {self.uri}", self._secrets):
                return action()

        return retried(once)

    def publish(self, local_path: Path, name: str) -> str:
        import pyarrow as pa

        check_name(name)
        # Mapped instead of read: the upload loads pages as it needs them.
        with translated(f"reading {local_path}"):
            if local_path.stat().st_size == 0:
                return self.publish_bytes(b"", name)
            with pa.memory_map(str(local_path)) as mapped:
                buffer = mapped.read_buffer()
        return self._publish(buffer, buffer.size, name)

    def publish_bytes(self, data: bytes, name: str) -> str:
        return self._publish(data, len(data), name)

    def _publish(self, data: Any, size: int, name: str) -> str:
        path = self._path(name)

        def publish() -> str:
            if self._size(path) is None:
                self._upload(data, path)
                if self._size(path) != size:
                    raise StorageError(
                        f"{self.uri_of(name)}: the store reports a size that was not written; check it"
                    )
            elif not self._holds(path, size, hashlib.sha256(data).digest()):
                raise StorageConflictError(
                    f"{self.uri_of(name)}: the name is taken by other bytes; use a unique name"
                )
            return self.uri_of(name)

        return self._do(f"publishing {name}", publish)

    def _upload(self, data: Any, path: str) -> None:
        # pyarrow completes an upload even if an exception discards its stream, so Ctrl-C between two writes
        # would publish a truncated object. Therefore there is only one write, which Python's signals cannot
        # interrupt, and the object is deleted if that write fails.
        stream = self.filesystem.open_output_stream(path, compression=None)
        try:
            stream.write(data)
        except BaseException:
            try:
                stream.close()
            finally:
                if self._size(path) is not None:
                    self.filesystem.delete_file(path)
            raise
        stream.close()

    def _size(self, path: str) -> int | None:
        info = self.filesystem.get_file_info(path)
        return cast("int", info.size) if info.is_file else None

    def _holds(self, path: str, size: int, digest: bytes) -> bool:
        if self._size(path) != size:
            return False
        found = hashlib.sha256()
        with self.filesystem.open_input_file(path) as file:
            while chunk := file.read(_CHUNK_BYTES):
                found.update(chunk)
        return found.digest() == digest

    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        if offset < 0 or (length is not None and length < 0):
            raise UsageError(f"{name}: got {offset = }, {length = }; both must be at least 0")
        path = self._path(name)

        def read() -> bytes:
            with self.filesystem.open_input_file(path) as file:
                available = max(0, file.size() - offset)
                count = available if length is None else min(length, available)
                return cast("bytes", file.read_at(count, offset)) if count else b""

        return self._do(f"reading {name}", read)

    def open(self, name: str) -> BinaryIO:
        path = self._path(name)
        file = self._do(f"reading {name}", lambda: self.filesystem.open_input_file(path))
        # The buffer combines a parser's small reads into few requests.
        return cast("BinaryIO", io.BufferedReader(file, 1 << 20))

    def list(self, suffix: str = "") -> list[Entry]:
        found = [
            Entry(name=info.base_name, bytes=info.size, modified=(info.mtime_ns or 0) / 1e9)
            for info in self._infos()
            if is_name(info.base_name) and info.base_name.endswith(suffix)
        ]
        return sorted(found, key=lambda entry: entry.name)

    def _infos(self) -> Sequence[Any]:
        from pyarrow.fs import FileSelector, FileType

        selector = FileSelector(self._prefix, allow_not_found=True)
        infos = self._do("listing", lambda: self.filesystem.get_file_info(selector))
        # A missing prefix is an empty store. A missing bucket is an error.
        bucket = self._prefix.split("/", 1)[0]
        if (
            not infos
            and self._do("checking", lambda: self.filesystem.get_file_info(bucket).type) is FileType.NotFound
        ):
            raise StorageDeniedError(f"{self.uri}: no such bucket; create it, or correct the address")
        return [info for info in infos if info.is_file]

    def exists(self, name: str) -> bool:
        path = self._path(name)
        return self._do(f"checking {name}", lambda: self._size(path)) is not None

    def delete(self, name: str) -> None:
        path = self._path(name)

        def delete() -> None:
            if self._size(path) is not None:
                self.filesystem.delete_file(path)

        self._do(f"deleting {name}", delete)

    def sweep(
        self,
        prefix: str = "",
        older_than_seconds: float = 3600.0,
        *,
        abandoned: Callable[[str], bool] = lambda name: True,
    ) -> int:
        limit_ns = (time.time() - older_than_seconds) * 1e9
        removed = 0
        for info in self._infos():
            match = _TEMPORARY.fullmatch(info.base_name)
            if match is None or not match[1].startswith(prefix):
                continue
            if (info.mtime_ns or 0) <= limit_ns and abandoned(match[1]):
                path = info.path
                self._do(f"deleting {info.base_name}", lambda path=path: self.filesystem.delete_file(path))  # type: ignore[misc]
                removed += 1
        return removed

    def check_writable(self, name: str = "mien-write-check") -> None:
        path = f"{self._prefix}/.{check_name(name)}.{secrets.token_hex(6)}.tmp"
        self._do("writing", lambda: self._upload(b"mien", path))
        self._do("deleting", lambda: self.filesystem.delete_file(path))
