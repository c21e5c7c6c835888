"""What was asked of platforms, through whom, within which budget, and how long the rest takes."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mien.cluster.report.funnel import clock
from mien.cluster.report.sizes import size
from mien.ingest.rate.identity import Identity

if TYPE_CHECKING:
    from mien.ingest.catalog import EgressStatus, MediaRoom, Status


def acquisition_facts(
    status: Status,
    room: MediaRoom,
    identities: Sequence[Identity],
    egress: Sequence[EgressStatus],
    now: float,
) -> dict[str, Any]:
    """`egress` are the states of `identities`, in the same order; `room` with what waits."""
    asking = max(0, status.governed - room.waiting_governed)
    return {
        "found": sum(status.videos.values()),
        "fetched": status.fetched,
        "fetched_bytes": status.fetched_bytes,
        "kept": status.kept,
        "kept_bytes": status.kept_bytes,
        "waiting": {
            "for_a_platform": asking,
            "fetched_bytes": room.waiting_bytes,
            "put_off": status.put_off,
            "until": status.next_try_at,
        },
        "identities": [
            _identity_facts(identity, state) for identity, state in zip(identities, egress, strict=True)
        ],
        "hours_left": _rounded(hours_left(asking, identities, egress, now)),
    }


def _identity_facts(identity: Identity, state: EgressStatus) -> dict[str, Any]:
    return {
        "name": state.name,
        "last_hour": {
            "videos": state.videos,
            "lists": state.lists,
            "requests": state.requests,
            "bytes": state.bytes,
        },
        "limits_per_hour": {
            "videos": identity.videos_per_hour or None,
            "requests": identity.requests_per_hour or None,
            "bytes": identity.bytes_per_hour or None,
        },
        "under_way": state.under_way,
        "may_ask_at": state.room_at,
        "paused_until": state.paused_until,
        "strikes": state.strikes,
        "error_class": state.error_class or None,
        "error_text": state.error_text or None,
    }


def acquisition_lines(
    status: Status,
    room: MediaRoom,
    identities: Sequence[Identity],
    egress: Sequence[EgressStatus],
    now: float,
) -> list[str]:
    """Nothing where nothing was fetched or is to be asked for; of identities, where no platform ever was."""
    is_asking = status.governed > 0 or any(state.videos or state.paused_until for state in egress)
    if not status.fetched and not is_asking:
        return []
    kept = f", {status.kept} kept ({size(status.kept_bytes)})" if status.kept else ""
    found = sum(status.videos.values())
    lines = [f"fetched   {status.fetched} of {found} found, {size(status.fetched_bytes)}{kept}"]
    for identity, state in zip(identities, egress, strict=True) if is_asking else ():
        lines.append(
            f"identity  {state.name}: {_rates(identity, state)} in the last hour{_pause(state, now)}"
        )
    if room.waiting_bytes:
        lines.append(f"cached    {size(room.waiting_bytes)} of fetched media waits for `mien run`")
    if asking := max(0, status.governed - room.waiting_governed):
        left = hours_left(asking, identities, egress, now)
        forecast = f", about {left:,.1f} h at this budget" if left is not None else ""
        if status.put_off >= status.governed:
            forecast = ", when its time has come" if asking == 1 else ", when their time has come"
        videos = "1 video is" if asking == 1 else f"{asking} videos are"
        lines.append(f"asking    {videos} still to be asked for{forecast}")
    return lines


def _rates(identity: Identity, state: EgressStatus) -> str:
    told = [_counted(state.videos, identity.videos_per_hour, "video")]
    if state.lists:
        told.append(f"{state.lists} of these for lists")
    if state.requests:
        told.append(_counted(state.requests, identity.requests_per_hour, "request"))
    if state.bytes:
        limit = f" of {size(identity.bytes_per_hour)}" if identity.bytes_per_hour else ""
        told.append(f"{size(state.bytes)}{limit}")
    return ", ".join(told)


def _counted(count: int, limit: int, noun: str) -> str:
    plural = "" if (limit or count) == 1 else "s"
    return f"{count:,}{f'/{limit:,}' if limit else ''} {noun}{plural}"


def _pause(state: EgressStatus, now: float) -> str:
    if state.paused_until is None:
        return ""
    if state.paused_until <= now:
        return f"; one probe finds out whether {state.error_class} is over"
    until = time.strftime("%Y-%m-%d %H:%M", time.localtime(state.paused_until))
    return f"; paused until {until} ({clock(state.paused_until - now)}): {state.error_class}"


def hours_left(
    videos: int, identities: Sequence[Identity], egress: Sequence[EgressStatus], now: float
) -> float | None:
    """Until `videos` more are asked for, each identity at its budget's pace once it may ask again; one
    without limits as in the last hour. None where no pace is known."""
    if not videos:
        return 0.0
    paces = [
        (max(0.0, (state.paused_until or now) - now) / 3600, _pace(identity, state))
        for identity, state in zip(identities, egress, strict=True)
    ]
    hours = total = 0.0
    left = float(videos)
    for begins, pace in sorted(each for each in paces if each[1]):
        if total and left <= total * (begins - hours):
            break
        left -= total * (begins - hours)
        hours, total = begins, total + pace
    return hours + left / total if total else None


def _pace(identity: Identity, state: EgressStatus) -> float:
    """Videos per hour."""
    paces = []
    if identity.videos_per_hour:
        paces.append(float(identity.videos_per_hour))
    if identity.requests_per_hour:
        paces.append(identity.requests_per_hour / max(1.0, state.mean_requests))
    if identity.bytes_per_hour:
        paces.append(identity.bytes_per_hour / max(1.0, state.mean_bytes))
    return min(paces, default=float(state.videos - state.lists))


def _rounded(hours: float | None) -> float | None:
    return None if hours is None else round(hours, 2)
