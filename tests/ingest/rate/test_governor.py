"""The arithmetic of a budget: what fits, when it fits, and how evenly."""

from __future__ import annotations

import math

from hypothesis import given
from hypothesis import strategies as st

from mien.ingest.rate.egress_state import EgressState
from mien.ingest.rate.governor import (
    BURST_SECONDS,
    WINDOW_SECONDS,
    Charge,
    granted,
    has_room,
    learned,
    paced_at,
    reserve,
    room_after,
    share_seconds,
)
from mien.ingest.rate.identity import Identity

amounts = st.integers(0, 10**12)
charges = st.builds(Charge, videos=amounts, requests=amounts, bytes=amounts)


@given(
    videos=st.integers(0, 5),
    requests=st.integers(0, 5),
    size=st.integers(0, 10**12),
    mean_requests=st.floats(0, 1e6),
    mean_bytes=st.floats(0, 1e12),
)
def test_an_empty_window_has_room_for_any_video(
    videos: int, requests: int, size: int, mean_requests: float, mean_bytes: float
) -> None:
    identity = Identity("a", videos_per_hour=videos, requests_per_hour=requests, bytes_per_hour=size)
    state = EgressState(name="a", platform="youtube", mean_requests=mean_requests, mean_bytes=mean_bytes)
    assert has_room(identity, Charge(), reserve(identity, state))


@given(st.lists(charges, max_size=8), charges, charges)
def test_room_comes_when_enough_leaves(spent: list[Charge], charge: Charge, limit: Charge) -> None:
    identity = Identity(
        "a", videos_per_hour=limit.videos, requests_per_hour=limit.requests, bytes_per_hour=limit.bytes
    )
    total = sum(spent, Charge())
    leaving = [(float(position + 1), charge) for position, charge in enumerate(spent)]
    at = room_after(identity, total, charge, leaving)
    for moment in (0.0, *(moment for moment, _ in leaving)):
        left = sum((charge for leaves, charge in leaving if leaves > moment), Charge())
        assert has_room(identity, left, charge) == (at <= moment)


@given(st.integers(1, 2000), st.lists(st.floats(0, 100), max_size=200))
def test_the_pace_is_even_but_for_a_small_burst(videos: int, pauses: list[float]) -> None:
    """Any period has at most its share of the hour, plus the burst, plus one."""
    identity, state = Identity("a", videos_per_hour=videos), EgressState(name="a", platform="youtube")
    now, times = 1e6, []
    for pause in pauses:
        now += pause
        charge = reserve(identity, state)
        if paced_at(identity, state, charge) <= now:
            state = granted(identity, state, charge, now)
            times.append(now)
    step = WINDOW_SECONDS / videos
    for first in range(len(times)):
        for last in range(first, len(times)):
            stretch = times[last] - times[first]
            assert last - first + 1 <= (stretch + max(BURST_SECONDS, step)) / step + 1e-6


def test_no_limit_is_no_pace() -> None:
    identity = Identity("a", videos_per_hour=0)
    assert share_seconds(identity, reserve(identity, EgressState(name="a", platform="youtube"))) == 0
    assert room_after(identity, Charge(videos=10**9), Charge(videos=1), []) == 0.0


def test_room_is_unknown_while_videos_run() -> None:
    identity = Identity("a", videos_per_hour=1)
    assert math.isinf(room_after(identity, Charge(videos=1), Charge(videos=1), []))


def test_means_follow_usage() -> None:
    state = EgressState(name="a", platform="youtube")
    for _ in range(100):
        state = learned(state, 3, 1_000_000)
    assert round(state.mean_requests) == 3
    assert round(state.mean_bytes, -4) == 1_000_000
