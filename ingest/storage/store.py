"""The contract of a store: flat, of unique names that once visible are complete and never change."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from mien.ingest.errors import UsageError

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*")
NAME_LIMIT = 200
"""Leaves room for the decoration of a temporary name within the 255 bytes of most file systems."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    name: str
    bytes: int
    modified: float
    """Seconds since the epoch, by the store's clock."""


def is_name(name: str) -> bool:
    return len(name) <= NAME_LIMIT and _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """`name` itself.

    Raises:
        UsageError: it is not one plain name.
    """
    if not is_name(name):
        raise UsageError(
            f"{name[:NAME_LIMIT]!r} cannot be a name in a store; "
            f"use at most {NAME_LIMIT} letters, digits, '.', '_' and '-', not beginning with '.'"
        )
    return name


class Store(ABC):
    """One flat folder of files.

    Every method raises `UsageError` for a name that cannot be one, `StorageMissingError` where the name is
    not there, `StorageDeniedError` or `StorageFullError` (both end a run), and plain `StorageError` once a
    passing trouble was asked again in vain. No message holds a credential.
    """

    uri: str
    """Of the folder; no slash at the end, no credentials."""

    def uri_of(self, name: str) -> str:
        return f"{self.uri}/{check_name(name)}"

    @abstractmethod
    def publish(self, local_path: Path, name: str) -> str:
        """Makes the file visible as `name`, whole or not at all; returns its URI.

        The file is left in place and must not be changed afterwards: a local store may share its bytes.
        Publishing the same bytes again does nothing.

        Raises:
            StorageConflictError: `name` is taken by other bytes.
        """

    @abstractmethod
    def publish_bytes(self, data: bytes, name: str) -> str:
        """`publish` of what is in memory."""

    @abstractmethod
    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """At most `length` bytes from `offset`; fewer where the file ends."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A seekable file for reading; the caller closes it."""

    @abstractmethod
    def list(self, suffix: str = "") -> list[Entry]:
        """What is visible, sorted by name. A folder that is not there yet is empty."""

    @abstractmethod
    def exists(self, name: str) -> bool: ...

    @abstractmethod
    def delete(self, name: str) -> None:
        """Removes `name`; one that is not there is no error."""

    @abstractmethod
    def sweep(
        self,
        prefix: str = "",
        older_than_seconds: float = 3600.0,
        *,
        abandoned: Callable[[str], bool] = lambda name: True,
    ) -> int:
        """Removes what killed writers left of names that begin with `prefix`; returns how many files.

        A temporary file is touched as it grows, so an hour without a change means that nobody writes it.
        Who knows better says so: `abandoned` is asked for each name, after its file was seen.
        """

    @abstractmethod
    def check_writable(self, name: str = "mien-write-check") -> None:
        """Writes and removes a small hidden file, whose `name` tells `sweep` whose it was.

        Raises:
            StorageError: one of its classes, in one line, before a run spends hours on the work.
        """
