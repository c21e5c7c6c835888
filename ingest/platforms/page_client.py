"""Reads list pages within the budgets of videos: the catalog grants each page."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from mien.ingest.catalog import Catalog, EgressStatus, Outcome, Usage
from mien.ingest.errors import MienError, RateLimitedError
from mien.ingest.rate.identity import Identity

PATIENCE_SECONDS = 120.0
"""A wait of this length is accepted even without acquire.wait."""
SAY_SECONDS = 60.0
SILENT_SECONDS = 5.0
"""Shorter waits are not reported; longer ones are slept in steps of this length."""


class BudgetedPageClient:
    """The budget of one platform. `wait`: wait for room as long as needed; skip paused identities."""

    def __init__(
        self,
        catalog: Catalog,
        platform: str,
        *,
        wait: bool,
        say: Callable[[str], None] = lambda line: None,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.catalog, self.platform = catalog, platform
        self.wait, self.clock, self.sleep = wait, clock, sleep
        self._say, self._reported_at = say, -math.inf

    def say(self, line: str) -> None:
        """Reports at most once a minute."""
        now = self.clock()
        if now - self._reported_at >= SAY_SECONDS:
            self._reported_at = now
            self._say(line)

    def first(self, identities: Sequence[Identity]) -> Identity:
        now = self.clock()
        states = zip(self.catalog.egress(identities, self.platform), identities, strict=True)

        def rank(state: EgressStatus) -> tuple[bool, bool, bool]:
            pause = state.paused_until
            return pause is not None and pause > now, state.room_at > now, pause is not None

        return min(states, key=lambda each: rank(each[0]))[1]

    def session(self, identity: Identity) -> BudgetedPageSession:
        return BudgetedPageSession(self, identity)


class BudgetedPageSession:
    """One list, read as one identity."""

    def __init__(self, client: BudgetedPageClient, identity: Identity) -> None:
        self._client, self._identity = client, identity
        self._is_first, self._grant, self._received = True, None, 0

    _grant: int | None

    def before(self, size: int) -> None:
        """Raises RateLimitedError if the identity is paused, or if the wait for its budget is too long."""
        self.after(size)
        while True:
            given = self._client.catalog.grant_page(
                self._identity, self._client.platform, is_first=self._is_first
            )
            if given.number is not None:
                self._grant, self._is_first = given.number, False
                return
            name, until = self._identity.name, _when(given.room_at)
            if given.is_paused:
                raise RateLimitedError(f"identity {name} is paused until {until}; wait, or use another one")
            seconds = given.room_at - self._client.clock()
            if seconds > PATIENCE_SECONDS and not self._client.wait:
                raise RateLimitedError(
                    f"the budget of identity {name} has room again at {until}; continue then, "
                    "or set acquire.wait=true to wait for it"
                )
            if seconds > SILENT_SECONDS:
                self._client.say(f"waiting until {until} for room in the budget of identity {name}")
            self._client.sleep(min(max(seconds, 0.01), SILENT_SECONDS))

    def after(self, size: int, error: MienError | None = None) -> None:
        """`size`: bytes received in this session so far."""
        received, self._received = size - self._received, size
        if self._grant is None:
            return
        number, self._grant = self._grant, None
        outcome = Outcome.SUCCEEDED if error is None else Outcome.FAILED
        if error is not None and error.circuit:
            outcome = Outcome.REFUSED
        usage = Usage(
            outcome=outcome,
            requests=1,
            bytes=received,
            retry_after_seconds=getattr(error, "retry_after_seconds", None),
            error_class="" if error is None else type(error).__name__,
            error_text="" if error is None else str(error),
        )
        self._client.catalog.settle_page(number, self._identity, usage)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
