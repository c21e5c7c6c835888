"""Settling grants: debiting the actual usage, and opening or closing circuits."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, case, delete, func, select, update

from mien.ingest.catalog.egress import locked_row, put, state_of, states_of
from mien.ingest.catalog.events import append_events
from mien.ingest.catalog.records import Outcome, Paused, Usage
from mien.ingest.catalog.schema import PUT_OFF, UNSETTLED, WAITING, grants, videos
from mien.ingest.rate import circuit, governor
from mien.ingest.rate.egress_state import EgressState

_LAST = (
    select(
        grants.c.seq,
        grants.c.identity,
        grants.c.platform,
        grants.c.granted_at,
        grants.c.settled_at,
        grants.c.probe,
    )
    .where(grants.c.video_key == bindparam("key"), grants.c.run_id == bindparam("run"))
    .order_by(grants.c.seq.desc())
    .limit(1)
    .with_for_update()
)
_SETTLE = (
    update(grants)
    .where(grants.c.seq == bindparam("grant"))
    .values(
        settled_at=bindparam("at"),
        requests=func.coalesce(bindparam("took_requests"), grants.c.requests),
        bytes=func.coalesce(bindparam("took_bytes"), grants.c.bytes),
    )
)
_DUE_NOW = (
    update(videos)
    .where(PUT_OFF, videos.c.state == WAITING, videos.c.rate_limited_source == bindparam("of_platform"))
    .where(videos.c.error_class == bindparam("class"))
    .values(next_try_at=0.0)
)
_ABANDON = (
    update(grants)
    .where(grants.c.run_id == bindparam("run"), grants.c.settled_at == UNSETTLED)
    # A clock that was set back must not let the grant leave the window early.
    .values(
        settled_at=case((grants.c.granted_at > bindparam("now"), grants.c.granted_at), else_=bindparam("now"))
    )
)


def settle(
    connection: Connection, now: float, run_id: str, video_key: str, usage: Usage, *, in_doubt: bool = False
) -> Paused | None:
    """Debits the usage of the run's last grant for the video. Returns the pause if the identity was refused.

    `in_doubt`: the change may have been committed already; then it is not repeated.
    """
    row = connection.execute(_LAST, {"key": video_key, "run": run_id}).one_or_none()
    if row is None:
        return None
    if in_doubt and row.settled_at != UNSETTLED:
        return _pause(connection, row.identity, row.platform) if usage.outcome is Outcome.REFUSED else None
    at = max(now, row.granted_at)
    known = usage.requests > 0 or usage.bytes > 0
    values = {
        "grant": row.seq,
        "at": at,
        "took_requests": usage.requests if known else None,
        "took_bytes": usage.bytes if known else None,
    }
    connection.execute(_SETTLE, values)
    found = locked_row(connection, row.identity, row.platform)
    if found is None:
        return None
    before = state = state_of(found)
    if usage.outcome is Outcome.UNASKED:
        connection.execute(delete(grants).where(grants.c.seq == row.seq))
        state = replace(state, even_at=min(state.even_at, at))
    elif usage.outcome is Outcome.SUCCEEDED:
        state = circuit.succeeded(state, at, probe=row.probe)
        if known:
            state = governor.learned(state, usage.requests, usage.bytes)
    elif usage.outcome is Outcome.REFUSED:
        state = refused(state, at, usage, probe=row.probe)
    if state != before:
        put(connection, state)
        if event := _circuit_event(before, state):
            append_events(connection, now, run_id, [(video_key, *event)])
    return _pause(connection, row.identity, row.platform) if usage.outcome is Outcome.REFUSED else None


def _pause(connection: Connection, identity: str, platform: str) -> Paused | None:
    row = locked_row(connection, identity, platform)
    if row is None:
        return None
    return Paused(identity=identity, platform=platform, until=row.paused_until, succeeded_at=row.succeeded_at)


def refused(state: EgressState, at: float, usage: Usage, *, probe: bool) -> EgressState:
    after = circuit.refused(
        state,
        at,
        probe=probe,
        retry_after_seconds=usage.retry_after_seconds,
        jitter=random.random(),  # noqa: S311 (spreads, protects nothing)
    )
    return replace(after, error_class=usage.error_class, error_text=usage.error_text[:500])


def _circuit_event(before: EgressState, after: EgressState) -> tuple[str, str] | None:
    """The event for the video whose result changed the circuit."""
    if after.paused_until > before.paused_until:
        until = datetime.fromtimestamp(after.paused_until, UTC).isoformat(timespec="seconds")
        return "paused", f"{after.name} on {after.platform} until {until}: {after.error_class}"
    if before.is_open and not after.is_open:
        return "resumed", f"{after.name} on {after.platform}"
    return None


def abandon(connection: Connection, now: float, run_id: str) -> None:
    """Ends the grants of a run that is over: its videos were being fetched until now at the latest."""
    connection.execute(_ABANDON, {"run": run_id, "now": now})


def reopen(connection: Connection, identity: str, platform: str | None) -> list[str]:
    """Ends the pauses of the identity (on one platform, or on all), and makes the postponed videos due now.

    Returns the platforms on which the identity was paused.
    """
    reopened = []
    for state in states_of(connection, identity):
        if not state.paused_until or platform not in (None, state.platform):
            continue
        put(connection, replace(state, paused_until=0.0, strikes=0, cooldown_seconds=0.0))
        connection.execute(_DUE_NOW, {"class": state.error_class, "of_platform": state.platform})
        reopened.append(state.platform)
    return sorted(reopened)
