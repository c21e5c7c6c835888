"""Budgets for list pages, as a lister sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mien.ingest.errors import MienError
from mien.ingest.rate.identity import Identity


class PageSession(Protocol):
    """One list, read page by page as one identity."""

    def before(self, size: int) -> None:
        """Called before each request: waits until it is allowed, or raises RateLimitedError.

        `size`: bytes received so far.
        """
        ...

    def after(self, size: int, error: MienError | None = None) -> None:
        """Called after each request, with its error if it failed; `size` bytes were received so far."""
        ...


class PageBudget(Protocol):
    def first(self, identities: Sequence[Identity]) -> Identity:
        """The identity that may ask soonest."""
        ...

    def session(self, identity: Identity) -> PageSession: ...


class _UnlimitedSession:
    def before(self, size: int) -> None: ...

    def after(self, size: int, error: MienError | None = None) -> None: ...


class UnlimitedPageBudget:
    """Without a catalog: asks immediately, as the first identity."""

    def first(self, identities: Sequence[Identity]) -> Identity:
        return identities[0]

    def session(self, identity: Identity) -> PageSession:
        return _UnlimitedSession()
