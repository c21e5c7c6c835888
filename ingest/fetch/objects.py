"""One object of a store, copied as a stream."""

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


def download_object(uri: str, slot: PartialFile, *, max_bytes: int | None) -> None:
    """Fills `slot` with the object at `uri`.

    Raises:
        GoneError: no such object. NotAFileError: a prefix. AccessDeniedError: the store refuses.
        TooLargeError: more than `max_bytes`.
        IncompleteTransferError: it ended early, or changed meanwhile. FetchError: the store failed.
    """
    try:
        retried(lambda: _copy(uri, slot, max_bytes))
    except StorageMissingError as error:
        raise GoneError(str(error)) from error
    except StorageDeniedError as error:
        raise AccessDeniedError(str(error)) from error
    except StorageError as error:
        raise FetchError(str(error)) from error


def _copy(uri: str, slot: PartialFile, max_bytes: int | None) -> None:
    from pyarrow.fs import FileType

    name = redact(uri)
    slot.go_on()
    with translated(f"fetching {name}"):
        filesystem, path = open_filesystem(uri)
        before = filesystem.get_file_info(path)
    if before.type is FileType.NotFound:
        raise StorageMissingError(f"{name}: no such object; the video is not there any more")
    if not before.is_file:
        raise NotAFileError(f"{name}: this is a prefix; give an object, or add the prefix with a slash")
    if max_bytes is not None and before.size > max_bytes:
        raise TooLargeError(
            f"{name}: {before.size:,} bytes, {max_bytes:,} are allowed; raise fetch.max_bytes"
        )
    proof = (before.size, str(before.mtime_ns))
    if slot.proof != proof:
        slot.restart()
    slot.reserve(before.size)
    slot.prove(*proof)
    with translated(f"fetching {name}"), filesystem.open_input_file(path) as file:
        file.seek(slot.position)
        while True:
            chunk = file.read(_CHUNK_BYTES)
            if not chunk:
                break
            slot.write(chunk)
    with translated(f"fetching {name}"):
        after = filesystem.get_file_info(path)
    if slot.position != before.size or (after.size, after.mtime_ns) != (before.size, before.mtime_ns):
        raise IncompleteTransferError(
            f"{name}: {slot.position:,} bytes came of {before.size:,}, or it changed meanwhile; "
            "it is asked again"
        )
