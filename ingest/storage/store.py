"""The interface of a store: a flat folder of unique names. A visible file is complete and never changes."""

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
"""Leaves room for the prefix and suffix of a temporary name: most file systems allow 255 bytes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    name: str
    bytes: int
    modified: float
    """Seconds since the epoch, by the store's clock."""


def is_name(name: str) -> bool:
    return len(name) <= NAME_LIMIT and _NAME.fullmatch(name) is not None


def check_name(name: str) -> str:
    """Returns `name`.

    Raises:
        UsageError: `name` is not a valid name.
    """
    if not is_name(name):
        raise UsageError(
            f"{name[:NAME_LIMIT]!r} cannot be a name in a store; "
            f"use at most {NAME_LIMIT} letters, digits, '.', '_' and '-', and do not start with '.'"
        )
    return name


class Store(ABC):
    """One flat folder of files.

    Every method raises `UsageError` for an invalid name, `StorageMissingError` for a missing one,
    `StorageDeniedError` or `StorageFullError` (both end a run), and plain `StorageError` if a temporary
    failure persists through all retries. No message contains credentials.
    """

    uri: str
    """URI of the folder, without a trailing slash and without credentials."""

    def uri_of(self, name: str) -> str:
        return f"{self.uri}/{check_name(name)}"

    @abstractmethod
    def publish(self, local_path: Path, name: str) -> str:
        """Makes the file visible as `name`, completely or not at all; returns its URI.

        The file stays in place and must not change afterwards: a local store may share its bytes.
        Publishing the same bytes again does nothing.

        Raises:
            StorageConflictError: `name` is taken by other bytes.
        """

    @abstractmethod
    def publish_bytes(self, data: bytes, name: str) -> str:
        """Like `publish`, for bytes in memory."""

    @abstractmethod
    def read(self, name: str, offset: int = 0, length: int | None = None) -> bytes:
        """At most `length` bytes from `offset`; fewer at the end of the file."""

    @abstractmethod
    def open(self, name: str) -> BinaryIO:
        """A seekable file for reading; the caller closes it."""

    @abstractmethod
    def list(self, suffix: str = "") -> list[Entry]:
        """The visible files, sorted by name. A folder that does not exist yet is empty."""

    @abstractmethod
    def exists(self, name: str) -> bool: ...

    @abstractmethod
    def delete(self, name: str) -> None:
        """Deletes `name`. A missing file is not an error."""

    @abstractmethod
    def sweep(
        self,
        prefix: str = "",
        older_than_seconds: float = 3600.0,
        *,
        abandoned: Callable[[str], bool] = lambda name: True,
    ) -> int:
        """Deletes temporary files of killed writers whose names start with `prefix`; returns their number.

        A growing file changes its modification time, so after an hour without a change nobody writes it.
        A caller that knows more passes `abandoned`, which decides for each name after the file was listed.
        """

    @abstractmethod
    def check_writable(self, name: str = "mien-write-check") -> None:
        """Writes and deletes a small hidden file. `sweep` can identify it by `name`.

        Raises:
            StorageError: the store is not writable. This is found before a run spends hours on work.
        """
