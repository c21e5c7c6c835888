"""Who may ask for a page, and when: what a lister needs of whoever keeps the budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mien.ingest.errors import MienError
from mien.ingest.rate.identity import Identity


class PageSession(Protocol):
    """One list, asked for as one identity, page by page."""

    def before(self, size: int) -> None:
        """Called before each request: waits until it may be made, or raises RateLimitedError. `size`: bytes
        that came so far."""
        ...

    def after(self, size: int, error: MienError | None = None) -> None:
        """The request, if one was made, was answered, with `error` or well; `size` bytes came so far."""
        ...


class PageBudget(Protocol):
    def first(self, identities: Sequence[Identity]) -> Identity:
        """The one to ask as: that which may ask soonest."""
        ...

    def turn(self, identity: Identity) -> PageSession: ...


class _AtOnce:
    def before(self, size: int) -> None: ...

    def after(self, size: int, error: MienError | None = None) -> None: ...


class UnlimitedPageBudget:
    """For who has no catalog: asks at once, as the first that there is."""

    def first(self, identities: Sequence[Identity]) -> Identity:
        return identities[0]

    def turn(self, identity: Identity) -> PageSession:
        return _AtOnce()
