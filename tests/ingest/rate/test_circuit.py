"""A refused identity pauses, longer each time, until a probe succeeds."""

from __future__ import annotations

import pytest

from mien.ingest.rate.circuit import (
    FIRST_COOLDOWN_SECONDS,
    JITTER,
    MAX_COOLDOWN_SECONDS,
    MAX_RETRY_AFTER_SECONDS,
    refused,
    succeeded,
)
from mien.ingest.rate.egress_state import EgressState

NOW = 1_000_000.0


def refuse(
    state: EgressState,
    at: float = NOW,
    *,
    probe: bool = False,
    retry_after: float | None = None,
    jitter: float = 0.0,
) -> EgressState:
    return refused(state, at, probe=probe, retry_after_seconds=retry_after, jitter=jitter)


def test_cooldowns_double_up_to_a_day() -> None:
    state, at, seen = EgressState(name="a", platform="youtube"), NOW, []
    for _ in range(12):
        state = refuse(state, at, probe=state.is_open)
        seen.append(state.paused_until - at)
        at = state.paused_until
    assert seen[:4] == [FIRST_COOLDOWN_SECONDS * 2**n for n in range(4)]
    assert seen[-1] == MAX_COOLDOWN_SECONDS
    assert seen == sorted(seen)


@pytest.mark.parametrize("jitter", [0.0, 0.5, 0.999])
def test_jitter_only_lengthens(jitter: float) -> None:
    pause = refuse(EgressState(name="a", platform="youtube"), jitter=jitter).paused_until - NOW
    assert FIRST_COOLDOWN_SECONDS <= pause <= FIRST_COOLDOWN_SECONDS * (1 + JITTER)


def test_videos_in_progress_only_lengthen_pause() -> None:
    first = refuse(EgressState(name="a", platform="youtube"))
    assert refuse(first, NOW + 1) == first
    assert refuse(first, NOW + 1, retry_after=7200).paused_until == NOW + 7201


def test_retry_after_is_honoured_within_limits() -> None:
    assert refuse(EgressState(name="a", platform="youtube"), retry_after=5000).paused_until == NOW + 5000
    assert (
        refuse(EgressState(name="a", platform="youtube"), retry_after=1).paused_until
        == NOW + FIRST_COOLDOWN_SECONDS
    )
    assert (
        refuse(EgressState(name="a", platform="youtube"), retry_after=1e12).paused_until
        == NOW + MAX_RETRY_AFTER_SECONDS
    )


def test_only_a_probe_closes() -> None:
    paused = refuse(EgressState(name="a", platform="youtube"))
    assert succeeded(paused, NOW + 1, probe=False).is_open
    closed = succeeded(paused, NOW + 1000, probe=True)
    assert not closed.is_open
    assert closed.succeeded_at == NOW + 1000


def test_soon_repeated_wall_continues_doubling() -> None:
    closed = succeeded(refuse(EgressState(name="a", platform="youtube")), NOW + 1000, probe=True)
    soon = refuse(closed, NOW + 1100)
    assert soon.paused_until - (NOW + 1100) == 2 * FIRST_COOLDOWN_SECONDS
    late = refuse(closed, NOW + 1000 + FIRST_COOLDOWN_SECONDS + 1)
    assert late.cooldown_seconds == FIRST_COOLDOWN_SECONDS
