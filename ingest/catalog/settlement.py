"""What became of grants: debits, and the circuits that open and close with them."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime

from sqlalchemy import Connection, bindparam, case, delete, func, select, true, update

from mien.ingest.catalog.egress import LOCKED, put
from mien.ingest.catalog.events import append_events
from mien.ingest.catalog.records import Outcome, Paused, Usage
from mien.ingest.catalog.schema import PUT_OFF, UNSETTLED, WAITING, grants, videos
from mien.ingest.rate import circuit, governor
from mien.ingest.rate.egress_state import EgressState

_LAST = (
    select(grants.c.seq, grants.c.identity, grants.c.granted_at, grants.c.settled_at, grants.c.probe)
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
    .where(PUT_OFF, videos.c.state == WAITING, videos.c.governed == true())
    .where(videos.c.error_class == bindparam("class"))
    .values(next_try_at=0.0)
)
_ABANDON = (
    update(grants)
    .where(grants.c.run_id == bindparam("run"), grants.c.settled_at == UNSETTLED)
    # A clock that was set back must not let it leave the window early.
    .values(
        settled_at=case((grants.c.granted_at > bindparam("now"), grants.c.granted_at), else_=bindparam("now"))
    )
)


def settle(
    connection: Connection, now: float, run_id: str, video_key: str, usage: Usage, *, in_doubt: bool = False
) -> Paused | None:
    """Debits what the run's last grant for the video took; its identity's pause, if that was refused.

    `in_doubt`: it may have been committed already, and is then not done again.
    """
    row = connection.execute(_LAST, {"key": video_key, "run": run_id}).one_or_none()
    if row is None:
        return None
    if in_doubt and row.settled_at != UNSETTLED:
        return _pause(connection, row.identity) if usage.outcome is Outcome.REFUSED else None
    at = max(now, row.granted_at)
    known = usage.requests > 0 or usage.bytes > 0
    values = {
        "grant": row.seq,
        "at": at,
        "took_requests": usage.requests if known else None,
        "took_bytes": usage.bytes if known else None,
    }
    connection.execute(_SETTLE, values)
    found = connection.execute(LOCKED, {"identity": row.identity}).one_or_none()
    if found is None:
        return None
    before = standing = EgressState(**found._mapping)
    if usage.outcome is Outcome.UNASKED:
        connection.execute(delete(grants).where(grants.c.seq == row.seq))
        standing = replace(standing, even_at=min(standing.even_at, at))
    elif usage.outcome is Outcome.SUCCEEDED:
        standing = circuit.succeeded(standing, at, probe=row.probe)
        if known:
            standing = governor.learned(standing, usage.requests, usage.bytes)
    elif usage.outcome is Outcome.REFUSED:
        standing = refused(standing, at, usage, probe=row.probe)
    if standing != before:
        put(connection, standing)
        if said := _said_of_circuit(before, standing):
            append_events(connection, now, run_id, [(video_key, *said)])
    return _pause(connection, row.identity) if usage.outcome is Outcome.REFUSED else None


def _pause(connection: Connection, identity: str) -> Paused | None:
    row = connection.execute(LOCKED, {"identity": identity}).one_or_none()
    if row is None:
        return None
    return Paused(identity=identity, until=row.paused_until, succeeded_at=row.succeeded_at)


def refused(standing: EgressState, at: float, usage: Usage, *, probe: bool) -> EgressState:
    after = circuit.refused(
        standing,
        at,
        probe=probe,
        retry_after_seconds=usage.retry_after_seconds,
        chance=random.random(),  # noqa: S311 (spreads, protects nothing)
    )
    return replace(after, error_class=usage.error_class, error_text=usage.error_text[:500])


def _said_of_circuit(before: EgressState, after: EgressState) -> tuple[str, str] | None:
    """An event of the video that found out."""
    if after.paused_until > before.paused_until:
        until = datetime.fromtimestamp(after.paused_until, UTC).isoformat(timespec="seconds")
        return "paused", f"{after.name} until {until}: {after.error_class}"
    if before.is_open and not after.is_open:
        return "resumed", f"{after.name} is asked again"
    return None


def abandon(connection: Connection, now: float, run_id: str) -> None:
    """The run is over, and with it what it had under way: that was asked for until now at most."""
    connection.execute(_ABANDON, {"run": run_id, "now": now})


def reopen(connection: Connection, identity: str) -> bool:
    """Ends the pause; what was put off with it is due at once."""
    found = connection.execute(LOCKED, {"identity": identity}).one_or_none()
    if found is None or not found.paused_until:
        return False
    put(connection, replace(EgressState(**found._mapping), paused_until=0.0, strikes=0, cooldown_seconds=0.0))
    connection.execute(_DUE_NOW, {"class": found.error_class})
    return True
