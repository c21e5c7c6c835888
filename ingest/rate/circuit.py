"""The circuit of one egress identity: closed, open until a time, half open for one probe, closed again.

A bot wall or a rate limit refuses the identity and not the video, and asking on makes it worse. So the
first such answer opens the circuit; only one video, after the cooldown, may find out whether it is over.
(M. Nygard, Release It!, "Circuit Breaker"; growing delays with jitter as in RFC 9110's Retry-After advice.)
"""

from __future__ import annotations

from dataclasses import replace

from mien.ingest.rate.egress_state import EgressState

FIRST_COOLDOWN_SECONDS = 15 * 60.0
MAX_COOLDOWN_SECONDS = 24 * 3600.0
MAX_RETRY_AFTER_SECONDS = 7 * 24 * 3600.0
"""A server that asks for more has made a mistake."""
JITTER = 0.25
"""Identities that were refused together do not come back together."""


def refused(
    standing: EgressState, at: float, *, probe: bool, retry_after_seconds: float | None, chance: float
) -> EgressState:
    """`standing` after a refusal at `at`; `chance` in [0, 1) spreads the cooldown.

    Those that were under way when the circuit opened say nothing new: they can only ask for a longer wait.
    A refusal soon after the circuit closed goes on doubling where it had stopped.
    """
    asked = min(retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)
    if standing.is_open and not probe:
        return replace(standing, paused_until=max(standing.paused_until, at + asked))
    goes_on = standing.is_open or at - standing.closed_at <= standing.cooldown_seconds
    strikes = standing.strikes + 1 if goes_on else 1
    # The exponent is bounded too: a number of 2,000 digits is no float.
    cooldown = min(FIRST_COOLDOWN_SECONDS * 2 ** min(strikes - 1, 20), MAX_COOLDOWN_SECONDS)
    return replace(
        standing,
        strikes=strikes,
        cooldown_seconds=cooldown,
        paused_until=at + max(cooldown * (1 + JITTER * chance), asked),
    )


def succeeded(standing: EgressState, at: float, *, probe: bool) -> EgressState:
    """`standing` after a video was had at `at`. Only a probe closes the circuit: what was under way when it
    opened was let in before."""
    standing = replace(standing, succeeded_at=max(at, standing.succeeded_at))
    if standing.is_open and probe:
        return replace(standing, paused_until=0.0, closed_at=at)
    return standing
