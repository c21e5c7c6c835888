"""Lists are asked for within the budgets that videos have, page by page, each with a grant of the catalog."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from mien.ingest.catalog import Catalog, EgressStatus, Outcome, Usage
from mien.ingest.errors import MienError, RateLimitedError
from mien.ingest.rate.identity import Identity

PATIENCE_SECONDS = 120.0
"""Waited for a budget whatever was asked for."""
SAY_SECONDS = 60.0
SILENT_SECONDS = 5.0
"""A shorter wait is nobody's concern; nor is one slept through without looking again."""


class BudgetedPageClient:
    """`wait`: for a budget, as long as it takes. A paused identity is not waited for: another is asked."""

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
        self._say, self._said_at = say, -math.inf

    def say(self, line: str) -> None:
        """Once a minute is enough for who waits page by page."""
        now = self.clock()
        if now - self._said_at >= SAY_SECONDS:
            self._said_at = now
            self._say(line)

    def first(self, identities: Sequence[Identity]) -> Identity:
        now = self.clock()
        states = zip(self.catalog.egress(identities, self.platform), identities, strict=True)

        def rank(state: EgressStatus) -> tuple[bool, bool, bool]:
            pause = state.paused_until
            return pause is not None and pause > now, state.room_at > now, pause is not None

        return min(states, key=lambda each: rank(each[0]))[1]

    def turn(self, identity: Identity) -> BudgetedTurn:
        return BudgetedTurn(self, identity)


class BudgetedTurn:
    """One list, asked for as one identity."""

    def __init__(self, leave: BudgetedPageClient, identity: Identity) -> None:
        self._leave, self._identity = leave, identity
        self._is_first, self._grant, self._came = True, None, 0

    _grant: int | None

    def before(self, size: int) -> None:
        """Raises RateLimitedError where the identity is paused, or its budget is not waited for."""
        self.after(size)
        while True:
            given = self._leave.catalog.grant_page(
                self._identity, self._leave.platform, is_first=self._is_first
            )
            if given.number is not None:
                self._grant, self._is_first = given.number, False
                return
            name, until = self._identity.name, _when(given.room_at)
            if given.is_paused:
                raise RateLimitedError(f"identity {name} is paused until {until}; wait, or use another one")
            seconds = given.room_at - self._leave.clock()
            if seconds > PATIENCE_SECONDS and not self._leave.wait:
                raise RateLimitedError(
                    f"the budget of identity {name} has room again at {until}; go on then, "
                    "or let it wait with acquire.wait=true"
                )
            if seconds > SILENT_SECONDS:
                self._leave.say(f"waiting until {until} for room in the budget of identity {name}")
            self._leave.sleep(min(max(seconds, 0.01), SILENT_SECONDS))

    def after(self, size: int, error: MienError | None = None) -> None:
        """`size`: bytes that came in this turn so far."""
        came, self._came = size - self._came, size
        if self._grant is None:
            return
        number, self._grant = self._grant, None
        outcome = Outcome.SUCCEEDED if error is None else Outcome.FAILED
        if error is not None and error.circuit:
            outcome = Outcome.REFUSED
        usage = Usage(
            outcome=outcome,
            requests=1,
            bytes=came,
            retry_after_seconds=getattr(error, "retry_after_seconds", None),
            error_class="" if error is None else type(error).__name__,
            error_text="" if error is None else str(error),
        )
        self._leave.catalog.settle_page(number, self._identity, usage)


def _when(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(seconds))
