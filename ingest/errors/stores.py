"""Weights, catalog and storage."""

from __future__ import annotations

from collections.abc import Iterable

from mien.ingest.errors.base import MienError, Policy


class WeightsError(MienError):
    policy = Policy.STOP


class CatalogError(MienError):
    policy = Policy.STOP


class LeaseLostError(CatalogError):
    policy = Policy.RETRY

    def __init__(self, message: str, lost: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.lost = frozenset(lost)
        """Keys of the segments (or videos) that this run may not write."""


class StorageError(MienError):
    policy = Policy.RETRY


class StorageFullError(StorageError):
    policy = Policy.STOP


class CacheFullError(StorageError):
    pass


class ShardStoreError(StorageError):
    policy = Policy.STOP


class StorageDeniedError(StorageError):
    policy = Policy.STOP


class StorageMissingError(StorageError):
    policy = Policy.PERMANENT


class StorageConflictError(StorageError):
    policy = Policy.PERMANENT
