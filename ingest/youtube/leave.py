"""Who may ask for a page, and when: what a lister needs of whoever keeps the budgets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from mien.ingest.errors import MienError
from mien.ingest.rate.identity import Identity


class Turn(Protocol):
    """One list, asked for as one identity, page by page."""

    def before(self, size: int) -> None:
        """Called before each request: waits until it may be made, or raises RateLimitedError. `size`: bytes
        that came so far."""
        ...

    def after(self, size: int, error: MienError | None = None) -> None:
        """The request, if one was made, was answered, with `error` or well; `size` bytes came so far."""
        ...


class Leave(Protocol):
    def first(self, identities: Sequence[Identity]) -> Identity:
        """The one to ask as: that which may ask soonest."""
        ...

    def turn(self, identity: Identity) -> Turn: ...


class _AtOnce:
    def before(self, size: int) -> None: ...

    def after(self, size: int, error: MienError | None = None) -> None: ...


class Ungoverned:
    """For who has no catalog: asks at once, as the first that there is."""

    def first(self, identities: Sequence[Identity]) -> Identity:
        return identities[0]

    def turn(self, identity: Identity) -> Turn:
        return _AtOnce()
