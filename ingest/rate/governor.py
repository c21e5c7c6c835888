"""Decides whether an identity may request another video now, purely from earlier grants.

Guarantees for every window of 3,600 s and any number of drivers, actors and crashes:

    videos     requests never exceed the budget. A grant counts from the time it is given until 3,600 s after
               the video is *reported*, so it counts in every window in which the video may send requests.
    requests,  charges never exceed the budget when a grant is given. A video in progress is charged with a
    bytes      reserve of 1.5 times the recent mean. Usage above the reserve is charged when the video is
               reported, and no grant is given until the window has room again. So a window can exceed these
               two budgets only by the usage of videos in progress above their reserves.
    lists      each page is granted before its request, as one request; the first page also counts as a video.

Proof for videos: let (T, T + 3600] be a window, S the videos that sent requests within it, and g the last
grant of S. Each other video of S was granted before g. It was reported after T >= g - 3600, or not at all, so
it was counted when g was given. Therefore S without g is smaller than the budget.

Grants are spread over the window: an even pace with bursts of at most 120 s of the budget. The clocks of
drivers that share a catalog must agree, as for leases.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from mien.ingest.rate.egress_state import EgressState
from mien.ingest.rate.identity import Identity

WINDOW_SECONDS = 3600.0
BURST_SECONDS = 120.0
RESERVE_MARGIN = 1.5
PAGE_BYTES = 1_000_000
"""Charged for a page of a list; pages are smaller in practice."""
_MEAN_SHARE = 0.1
"""Weight of the newest video in the running mean."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Charge:
    """Usage counted in a window."""

    videos: int = 0
    requests: int = 0
    bytes: int = 0

    def __add__(self, other: Charge) -> Charge:
        return Charge(
            videos=self.videos + other.videos,
            requests=self.requests + other.requests,
            bytes=self.bytes + other.bytes,
        )

    def __sub__(self, other: Charge) -> Charge:
        return Charge(
            videos=self.videos - other.videos,
            requests=self.requests - other.requests,
            bytes=self.bytes - other.bytes,
        )


def budget(identity: Identity) -> Charge:
    """The budget per window; 0 is no limit."""
    return Charge(
        videos=identity.videos_per_hour or 0,
        requests=identity.requests_per_hour,
        bytes=identity.bytes_per_hour,
    )


def reserve(identity: Identity, state: EgressState) -> Charge:
    """The charge of the next video until it is reported. It never exceeds the whole budget, so an empty
    window has room for any video."""
    requests = max(1, math.ceil(state.mean_requests * RESERVE_MARGIN))
    size = max(1, math.ceil(state.mean_bytes * RESERVE_MARGIN))
    limit = budget(identity)
    return Charge(
        videos=1, requests=min(requests, limit.requests or requests), bytes=min(size, limit.bytes or size)
    )


def page_charge(identity: Identity, *, is_first: bool) -> Charge:
    """The charge of a list page, before it is requested."""
    limit = budget(identity)
    return Charge(videos=int(is_first), requests=1, bytes=min(PAGE_BYTES, limit.bytes or PAGE_BYTES))


def has_room(identity: Identity, spent: Charge, charge: Charge) -> bool:
    limit, total = budget(identity), spent + charge
    return all(
        most == 0 or taken <= most
        for most, taken in (
            (limit.videos, total.videos),
            (limit.requests, total.requests),
            (limit.bytes, total.bytes),
        )
    )


def room_after(
    identity: Identity, spent: Charge, charge: Charge, leaving: Iterable[tuple[float, Charge]]
) -> float:
    """The earliest time at which the window has room for `charge`; `leaving` are the charges in it with the
    time at which each leaves, earliest first. Infinity if it depends on videos in progress."""
    if has_room(identity, spent, charge):
        return 0.0
    for leaves_at, leaving_charge in leaving:
        spent -= leaving_charge
        if has_room(identity, spent, charge):
            return leaves_at
    return math.inf


def share_seconds(identity: Identity, charge: Charge) -> float:
    """The part of the window that `charge` takes of the budget, in seconds: an even pace's step."""
    limit = budget(identity)
    shares = [
        taken / most
        for most, taken in (
            (limit.videos, charge.videos),
            (limit.requests, charge.requests),
            (limit.bytes, charge.bytes),
        )
        if most
    ]
    return WINDOW_SECONDS * max(shares, default=0.0)


def paced_at(identity: Identity, state: EgressState, charge: Charge) -> float:
    """The earliest time at which the pace lets `charge` pass (generic cell rate algorithm, ITU-T I.371)."""
    ahead = max(0.0, BURST_SECONDS - share_seconds(identity, charge))
    return state.even_at - ahead


def granted(identity: Identity, state: EgressState, charge: Charge, at: float) -> EgressState:
    even_at = max(state.even_at, at) + share_seconds(identity, charge)
    return replace(state, granted_at=at, even_at=even_at)


def learned(state: EgressState, requests: int, size: int) -> EgressState:
    """The running means after a video with this usage."""
    return replace(
        state,
        mean_requests=state.mean_requests + _MEAN_SHARE * (requests - state.mean_requests),
        mean_bytes=state.mean_bytes + _MEAN_SHARE * (size - state.mean_bytes),
    )
