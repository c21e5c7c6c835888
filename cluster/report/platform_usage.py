"""Fetched media, the budget of each identity on each platform, and how long the remaining videos take."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mien.cluster.report.formatting import format_bytes, format_duration, format_time, pluralize

if TYPE_CHECKING:
    from mien.ingest.catalog import CatalogStatus, EgressStatus, MediaRoom


def acquisition_facts(
    status: CatalogStatus, room: MediaRoom, egress: Sequence[EgressStatus], now: float
) -> dict[str, Any]:
    """`egress` has a status per platform and identity; `room` includes the waiting media."""
    remaining = _remaining(status, room)
    return {
        "found": sum(status.videos.values()),
        "fetched": status.fetched,
        "fetched_bytes": status.fetched_bytes,
        "kept": status.retained,
        "kept_bytes": status.retained_bytes,
        "waiting": {
            "for_a_platform": sum(remaining.values()),
            "by_platform": remaining,
            "fetched_bytes": room.waiting_bytes,
            "put_off": status.put_off,
            "until": status.next_try_at,
        },
        "identities": [_identity_facts(state) for state in egress],
        "hours_left": _rounded(_hours_left_everywhere(remaining, egress, now)),
    }


def _remaining(status: CatalogStatus, room: MediaRoom) -> dict[str, int]:
    """Videos still to be fetched, by platform."""
    return {
        platform: max(0, count - room.waiting_videos.get(platform, 0))
        for platform, count in status.rate_limited.items()
    }


def _identity_facts(state: EgressStatus) -> dict[str, Any]:
    return {
        "name": state.name,
        "platform": state.platform,
        "last_hour": {
            "videos": state.videos,
            "lists": state.lists,
            "requests": state.requests,
            "bytes": state.bytes,
        },
        "limits_per_hour": {
            "videos": state.limits.videos or None,
            "requests": state.limits.requests or None,
            "bytes": state.limits.bytes or None,
        },
        "under_way": state.in_progress,
        "may_ask_at": state.room_at,
        "paused_until": state.paused_until,
        "strikes": state.strikes,
        "error_class": state.error_class or None,
        "error_text": state.error_text or None,
    }


def acquisition_lines(
    status: CatalogStatus, room: MediaRoom, egress: Sequence[EgressStatus], now: float
) -> list[str]:
    """Empty if nothing was or will be fetched. Identities appear once a platform is used."""
    used = [
        state
        for state in egress
        if state.platform in status.rate_limited or state.videos or state.paused_until
    ]
    if not status.fetched and not used:
        return []
    retained = (
        f", {status.retained} retained ({format_bytes(status.retained_bytes)})" if status.retained else ""
    )
    videos = pluralize(sum(status.videos.values()), "video")
    lines = [f"fetched   {status.fetched:,} of {videos}, {format_bytes(status.fetched_bytes)}{retained}"]
    lines += [
        f"identity  {state.name} on {state.platform}: {_rates(state)} in the last hour{_pause(state, now)}"
        for state in used
    ]
    if room.waiting_bytes:
        lines.append(f"cached    {format_bytes(room.waiting_bytes)} of fetched media, waiting for `mien run`")
    remaining = _remaining(status, room)
    if count := sum(remaining.values()):
        hours = _hours_left_everywhere(remaining, egress, now)
        forecast = f", about {hours:,.1f} h within the budget" if hours is not None else ""
        if status.put_off >= sum(status.rate_limited.values()):
            forecast = ", scheduled for later"
        lines.append(f"pending   {pluralize(count, 'video')} to fetch from platforms{forecast}")
    return lines


def _rates(state: EgressStatus) -> str:
    parts = [_counted(state.videos, state.limits.videos, "video")]
    if state.lists:
        parts.append(f"including {state.lists} for lists")
    if state.requests:
        parts.append(_counted(state.requests, state.limits.requests, "request"))
    if state.bytes:
        limit = f" of {format_bytes(state.limits.bytes)}" if state.limits.bytes else ""
        parts.append(f"{format_bytes(state.bytes)}{limit}")
    return ", ".join(parts)


def _counted(count: int, limit: int, noun: str) -> str:
    plural = "" if (limit or count) == 1 else "s"
    return f"{count:,}{f'/{limit:,}' if limit else ''} {noun}{plural}"


def _pause(state: EgressStatus, now: float) -> str:
    if state.paused_until is None:
        return ""
    if state.paused_until <= now:
        return f"; the next video tests whether {state.error_class} is resolved"
    until = format_time(state.paused_until)
    return f"; paused until {until} ({format_duration(state.paused_until - now)}): {state.error_class}"


def _hours_left_everywhere(
    remaining: dict[str, int], egress: Sequence[EgressStatus], now: float
) -> float | None:
    """Hours until all platforms are done. They work in parallel, so the slowest one counts."""
    hours = [
        hours_left(count, [state for state in egress if state.platform == platform], now)
        for platform, count in remaining.items()
    ]
    known = [each for each in hours if each is not None]
    return max(known, default=0.0) if len(known) == len(hours) else None


def hours_left(videos: int, egress: Sequence[EgressStatus], now: float) -> float | None:
    """Hours until `videos` more are fetched from one platform.

    Each identity proceeds at the pace of its budget once it may ask again; one without limits proceeds as in
    the last hour. None if no pace is known.
    """
    if not videos:
        return 0.0
    paces = [(max(0.0, (state.paused_until or now) - now) / 3600, _pace(state)) for state in egress]
    hours = total = 0.0
    left = float(videos)
    for begins, pace in sorted(each for each in paces if each[1]):
        if total and left <= total * (begins - hours):
            break
        left -= total * (begins - hours)
        hours, total = begins, total + pace
    return hours + left / total if total else None


def _pace(state: EgressStatus) -> float:
    """Videos per hour."""
    paces = []
    if state.limits.videos:
        paces.append(float(state.limits.videos))
    if state.limits.requests:
        paces.append(state.limits.requests / max(1.0, state.mean_requests))
    if state.limits.bytes:
        paces.append(state.limits.bytes / max(1.0, state.mean_bytes))
    return min(paces, default=float(state.videos - state.lists))


def _rounded(hours: float | None) -> float | None:
    return None if hours is None else round(hours, 2)
