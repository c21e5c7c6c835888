"""Where a stage finds the file of a video on the node that it runs on: another node may have fetched it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Protocol

from mien.ingest.media import MediaFile


class LocalMedia(Protocol):
    """`mien.ingest.fetch.Fetch` is one: it brings what is remote into this node's cache."""

    def local_copy(self, media: MediaFile) -> AbstractContextManager[str]:
        """The path of the file here, which nobody removes while the block lasts."""
        ...


@dataclass(frozen=True, slots=True)
class InPlaceMedia:
    """Every node sees the file where it was found: one machine, or a shared folder."""

    @contextmanager
    def local_copy(self, media: MediaFile) -> Iterator[str]:
        yield media.path
