"""The store of retained media, so that fetched videos are not fetched again.

    <key>.json         the metadata of the video when it was fetched
    <key><extension>   the media, published last: if it exists, both files exist

Both appear complete or not at all. A kill between publishing and recording in the catalog loses nothing: the
next fetch of the video finds the copy by its name.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mien.ingest.errors import GoneError, StorageConflictError, StorageMissingError
from mien.ingest.media import Job, MediaFile
from mien.ingest.storage import Store, open_store
from mien.ingest.storage.location import redact

if TYPE_CHECKING:
    from mien.ingest.fetch.partial_file import PartialFile

_EXTENSIONS = {"mov": ".mp4", "mp4": ".mp4", "matroska": ".mkv", "webm": ".mkv", "ogg": ".ogg", "mp3": ".mp3"}
_OTHER = ".media"
_CHUNK_BYTES = 8 << 20


class RetainedStore:
    """Copies in the folder or object store at `uri`."""

    def __init__(self, uri: str) -> None:
        self._uri = uri
        self._store: Store | None = None

    @property
    def store(self) -> Store:
        if self._store is None:
            self._store = open_store(self._uri)
        return self._store

    def find(self, job: Job) -> str:
        """The URI of the retained copy; "" if there is none."""
        for extension in dict.fromkeys((*_EXTENSIONS.values(), _OTHER)):
            name = job.key + extension
            if self.store.exists(name):
                return self.store.uri_of(name)
        return ""

    def publish(self, media: MediaFile, about: str) -> str:
        """Publishes a copy and returns its URI; an existing copy stays."""
        extension = _EXTENSIONS.get(media.container.partition(",")[0], _OTHER)
        if about:
            self._replace(f"{media.key}.json", about)
        try:
            return self.store.publish(Path(media.path), media.key + extension)
        except StorageConflictError:
            # Another fetch of the same video came first, and platforms do not serve the same bytes twice.
            return self.store.uri_of(media.key + extension)

    def _replace(self, name: str, about: str) -> None:
        try:
            self.store.publish_bytes(about.encode(), name)
        except StorageConflictError:
            self.store.delete(name)
            self.store.publish_bytes(about.encode(), name)


def read_retained(uri: str, partial: PartialFile) -> None:
    """Fills `partial` with the retained copy at `uri`, including its metadata.

    Raises:
        GoneError: the copy no longer exists.
    """
    folder, _, name = uri.rpartition("/")
    store = open_store(folder)
    about = name.rpartition(".")[0] + ".json"
    try:
        partial.restart()
        with store.open(name) as file:
            while chunk := file.read(_CHUNK_BYTES):
                partial.write(chunk)
        if store.exists(about):
            partial.about = store.read(about).decode()
    except StorageMissingError as error:
        raise GoneError(f"{redact(uri)}: the retained copy does not exist any more") from error


def discard_retained(uri: str) -> None:
    """Removes a broken copy."""
    folder, _, name = uri.rpartition("/")
    open_store(folder).delete(name)
