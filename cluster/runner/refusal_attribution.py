"""Attributes a refusal to the identity, or to the video if the identity can download other videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mien.ingest.catalog import Catalog, Paused
from mien.ingest.rate.identity import Identity

ANOTHER_FIRST_SECONDS = 60.0
"""After a pause, another video is tried first, because the refused video may be the cause."""


class RefusalAttribution:
    def __init__(
        self, catalog: Catalog, identities: Sequence[Identity], *, clock: Callable[[], float]
    ) -> None:
        self._catalog, self._identities, self._clock = catalog, identities, clock
        self._refused_at: dict[str, float] = {}

    def retry_at(self, key: str, paused: Paused) -> float | None:
        """When to retry the video without counting an attempt; None if the video itself is refused.

        That is the case if the identity downloaded other videos since it first refused this one.
        """
        now = self._clock()
        before = self._refused_at.get(key)
        self._refused_at[key] = now
        if before is not None and paused.succeeded_at > before:
            return None
        others = [identity for identity in self._identities if identity.name != paused.identity]
        if any(state.paused_until is None for state in self._catalog.egress(others, paused.platform)):
            return now
        return paused.until + ANOTHER_FIRST_SECONDS
