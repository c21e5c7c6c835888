"""The circuit breaker of an identity on a platform: closed, open until a time, half open for one probe.

A bot wall or a rate limit refuses the identity and not the video, and further requests make it worse. The
first such answer opens the circuit. After the cooldown one video probes whether the refusal is over.
(M. Nygard, Release It!, "Circuit Breaker"; growing delays with jitter as in RFC 9110's Retry-After advice.)
"""

from __future__ import annotations

from dataclasses import replace

from mien.ingest.rate.egress_state import EgressState

FIRST_COOLDOWN_SECONDS = 15 * 60.0
MAX_COOLDOWN_SECONDS = 24 * 3600.0
MAX_RETRY_AFTER_SECONDS = 7 * 24 * 3600.0
"""A longer Retry-After is taken for a mistake of the server."""
JITTER = 0.25
"""Spreads the return of identities that were refused together."""


def refused(
    state: EgressState, at: float, *, probe: bool, retry_after_seconds: float | None, jitter: float
) -> EgressState:
    """`state` after a refusal at `at`; `jitter` in [0, 1) spreads the cooldown.

    Refusals of videos that were in progress when the circuit opened can only lengthen the wait.
    A refusal soon after the circuit closed continues the doubling.
    """
    requested = min(retry_after_seconds or 0.0, MAX_RETRY_AFTER_SECONDS)
    if state.is_open and not probe:
        return replace(state, paused_until=max(state.paused_until, at + requested))
    is_repeated = state.is_open or at - state.closed_at <= state.cooldown_seconds
    strikes = state.strikes + 1 if is_repeated else 1
    # The exponent is bounded too: a number of 2,000 digits does not fit a float.
    cooldown = min(FIRST_COOLDOWN_SECONDS * 2 ** min(strikes - 1, 20), MAX_COOLDOWN_SECONDS)
    return replace(
        state,
        strikes=strikes,
        cooldown_seconds=cooldown,
        paused_until=at + max(cooldown * (1 + JITTER * jitter), requested),
    )


def succeeded(state: EgressState, at: float, *, probe: bool) -> EgressState:
    """`state` after a video was fetched at `at`. Only a probe closes the circuit: other videos were
    requested before it opened."""
    state = replace(state, succeeded_at=max(at, state.succeeded_at))
    if state.is_open and probe:
        return replace(state, paused_until=0.0, closed_at=at)
    return state
