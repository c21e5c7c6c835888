"""What the engine says of an item that it gave up."""

from __future__ import annotations

from mien.ingest.errors.base import MienError


class ItemError(MienError):
    """What the engine says of an item that it gave up."""


class OutOfMemoryError(ItemError):
    pass


class DeadlineExceededError(ItemError):
    pass


class WorkerDiedError(ItemError):
    pass


class UnexpectedError(ItemError):
    """An exception that no class of this tree names; its text is kept."""
