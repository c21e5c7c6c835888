"""Access to the file of a video on the node that a stage runs on. Another node may have fetched it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from mien.ingest.media import MediaFile


class LocalMedia(Protocol):
    """Provides media files on this node.

    `mien.ingest.fetch.Fetch` copies remote files to this node's cache.
    """

    def local_copy(self, media: MediaFile) -> AbstractContextManager[str]:
        """The path of the file on this node. The file is not removed before the block ends."""
        ...


@dataclass(frozen=True, slots=True)
class InPlaceMedia:
    """Uses each file at its original path: for a single machine or a folder that all nodes share."""

    @contextmanager
    def local_copy(self, media: MediaFile) -> Iterator[str]:
        yield media.path
