"""Copies one object of an object store as a stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.ingest.errors import (
    AccessDeniedError,
    FetchError,
    GoneError,
    IncompleteTransferError,
    NotAFileError,
    StorageDeniedError,
    StorageError,
    StorageMissingError,
    TooLargeError,
)
from mien.ingest.storage.error_mapping import retried, translated
from mien.ingest.storage.location import open_filesystem, redact

if TYPE_CHECKING:
    from mien.ingest.fetch.partial_file import PartialFile

_CHUNK_BYTES = 8 << 20


def download_object(uri: str, partial: PartialFile, *, max_bytes: int | None) -> None:
    """Fills `partial` with the object at `uri`.

    Raises:
        GoneError: no such object. NotAFileError: a prefix. AccessDeniedError: the store refuses.
        TooLargeError: more than `max_bytes`.
        IncompleteTransferError: it ended early or changed meanwhile. FetchError: the store failed.
    """
    try:
        retried(lambda: _copy(uri, partial, max_bytes))
    except StorageMissingError as error:
        raise GoneError(str(error)) from error
    except StorageDeniedError as error:
        raise AccessDeniedError(str(error)) from error
    except StorageError as error:
        raise FetchError(str(error)) from error


def _copy(uri: str, partial: PartialFile, max_bytes: int | None) -> None:
    from pyarrow.fs import FileType

    name = redact(uri)
    partial.resume()
    with translated(f"fetching {name}"):
        filesystem, path = open_filesystem(uri)
        before = filesystem.get_file_info(path)
    if before.type is FileType.NotFound:
        raise StorageMissingError(f"{name}: no such object; the video does not exist any more")
    if not before.is_file:
        raise NotAFileError(f"{name}: this is a prefix; give an object, or add the prefix with a slash")
    if max_bytes is not None and before.size > max_bytes:
        raise TooLargeError(
            f"{name}: {before.size:,} bytes, {max_bytes:,} are allowed; raise fetch.max_bytes"
        )
    proof = (before.size, str(before.mtime_ns))
    if partial.proof != proof:
        partial.restart()
    partial.reserve(before.size)
    partial.prove(*proof)
    with translated(f"fetching {name}"), filesystem.open_input_file(path) as file:
        file.seek(partial.position)
        while True:
            chunk = file.read(_CHUNK_BYTES)
            if not chunk:
                break
            partial.write(chunk)
    with translated(f"fetching {name}"):
        after = filesystem.get_file_info(path)
    if partial.position != before.size or (after.size, after.mtime_ns) != (before.size, before.mtime_ns):
        raise IncompleteTransferError(
            f"{name}: {partial.position:,} of {before.size:,} bytes arrived, or the object changed; "
            "it is retried"
        )
