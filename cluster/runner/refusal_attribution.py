"""Whose fault a refusal is: the identity's, as a rule; the video's, if others pass where it is refused."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from mien.ingest.catalog import Catalog, Paused
from mien.ingest.rate.identity import Identity

ANOTHER_FIRST_SECONDS = 60.0
"""After a pause another video finds out whether it is over: the same one may be what is refused."""


class RefusalAttribution:
    def __init__(
        self, catalog: Catalog, identities: Sequence[Identity], *, clock: Callable[[], float]
    ) -> None:
        self._catalog, self._identities, self._clock = catalog, identities, clock
        self._refused_at: dict[str, float] = {}

    def try_again_at(self, key: str, paused: Paused) -> float | None:
        """When the video may be asked for again, without being charged; None: it is the video's own fault.

        That it is if, since it was refused before, others were had through the identity that refuses it now.
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
