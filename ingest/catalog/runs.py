"""Runs and their leases.

A run holds its videos while its lease is valid. Expiry alone releases nothing: the `claim` of another run
does, in one transaction that first ends the expired run. Every write of a run locks the run's row before it
reads, so a write and a takeover cannot interleave.

Leases compare the clocks of the machines that share a catalog. Keep the clocks synchronised (NTP), and the
lease much longer than their difference.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import (
    Connection,
    String,
    Update,
    bindparam,
    case,
    exists,
    insert,
    literal,
    select,
    update,
)

from mien.ingest.catalog import settlement
from mien.ingest.catalog.schema import NO_FINGERPRINT, RUNNING, WAITING, events, runs, segments, videos
from mien.ingest.errors import CatalogError, LeaseLostError

EXPIRED = "expired"
KILLED = "killed"
_DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"

_ALIVE = (
    select(runs.c.fingerprint)
    .where(runs.c.id == bindparam("run_id"), runs.c.outcome.is_(None), runs.c.lease_until > bindparam("now"))
    .with_for_update()
)
_EXPIRED = (
    select(runs.c.id)
    .where(runs.c.outcome.is_(None), runs.c.lease_until <= bindparam("now"))
    .with_for_update(skip_locked=True)  # locked: the run is writing, or another process is ending it
)
_END = (
    update(runs)
    .where(runs.c.id == bindparam("run"), runs.c.outcome.is_(None))
    .values(outcome=bindparam("outcome"), ended_at=bindparam("now"))
)
_HELD_KEYS = select(videos.c.key).where(
    videos.c.key.in_(bindparam("keys", expanding=True)),
    videos.c.run_id == bindparam("run_id"),
    videos.c.state == RUNNING,
)
FREED_FINGERPRINT = case(
    (exists().where(segments.c.video_key == videos.c.key), videos.c.fingerprint), else_=NO_FINGERPRINT
)
"""A video without ended segments belongs to no configuration: any next run can claim it."""

_RELEASE: Update = (
    update(videos)
    .where(videos.c.run_id == bindparam("run"))
    .values(state=WAITING, run_id=None, next_try_at=0.0, fingerprint=FREED_FINGERPRINT)
)
_INSERT_RELEASED = insert(events).from_select(
    ["at", "run_id", "video_key", "what", "text"],
    select(
        bindparam("now"),
        videos.c.run_id,
        videos.c.key,
        literal("released", String),
        bindparam("text", type_=String),
    ).where(videos.c.run_id == bindparam("run")),
)


def new_id(now: float) -> str:
    """A run id that sorts by time: milliseconds since the epoch in base 36, then five random digits;
    [0-9a-z]{14}."""
    number, digits = max(0, int(now * 1000)), ""
    for _ in range(9):
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits + "".join(secrets.choice(_DIGITS) for _ in range(5))


def begin(
    connection: Connection, now: float, *, fingerprint: str, config_json: str, host: str, lease_seconds: float
) -> str:
    if not fingerprint:
        raise CatalogError("the run's fingerprint is empty; pass the hash of the stages' configuration")
    run_id = new_id(now)
    row: dict[str, Any] = {
        "id": run_id,
        "fingerprint": fingerprint,
        "config_json": config_json,
        "host": host,
        "lease_seconds": lease_seconds,
        "lease_until": now + lease_seconds,
        "started_at": now,
    }
    connection.execute(insert(runs), row)
    return run_id


def heartbeat(connection: Connection, now: float, run_id: str) -> None:
    """Also renews an expired lease, as long as no other run has taken over the videos."""
    renewed = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.outcome.is_(None))
        .values(lease_until=runs.c.lease_seconds + now)
    )
    if renewed.rowcount == 0:
        raise _gone(run_id, ())


def end(connection: Connection, now: float, run_id: str, outcome: str) -> None:
    ended = connection.execute(_END, {"run": run_id, "outcome": outcome, "now": now})
    if ended.rowcount:
        settlement.abandon(connection, now, run_id)
        release(connection, now, run_id, outcome)


def end_expired(connection: Connection, now: float) -> None:
    for run_id in connection.scalars(_EXPIRED, {"now": now}).all():
        end(connection, now, run_id, EXPIRED)


def end_dead(connection: Connection, now: float, known_dead: Collection[str]) -> set[str]:
    """Ends the expired and the `known_dead` runs; returns the runs that continue."""
    end_expired(connection, now)
    for run_id in sorted(known_dead):
        end(connection, now, run_id, KILLED)
    return set(connection.scalars(select(runs.c.id).where(runs.c.outcome.is_(None))))


def holders(connection: Connection) -> dict[str, float]:
    """Each run that holds videos, and when its lease expires."""
    holds = exists().where(videos.c.run_id == runs.c.id)
    rows = connection.execute(select(runs.c.id, runs.c.lease_until).where(runs.c.outcome.is_(None), holds))
    return {row.id: row.lease_until for row in rows}


def release(connection: Connection, now: float, run_id: str, why: str) -> None:
    connection.execute(_INSERT_RELEASED, {"now": now, "run": run_id, "text": why})
    connection.execute(_RELEASE, {"run": run_id})


def live(connection: Connection, now: float) -> list[str]:
    statement = select(runs.c.id).where(runs.c.outcome.is_(None), runs.c.lease_until > now)
    return sorted(connection.scalars(statement))


def require_alive(connection: Connection, now: float, run_id: str, keys: Iterable[str] = ()) -> str:
    """Locks the run's row and returns its fingerprint. LeaseLostError with `keys` if the lease is over."""
    fingerprint: str | None = connection.scalar(_ALIVE, {"run_id": run_id, "now": now})
    if fingerprint is None:
        raise _gone(run_id, keys)
    return fingerprint


def not_held(connection: Connection, run_id: str, keys: Collection[str]) -> set[str]:
    """The subset of `keys` whose videos this run does not hold."""
    held = connection.scalars(_HELD_KEYS, {"keys": list(keys), "run_id": run_id})
    return set(keys).difference(held)


def require_held(connection: Connection, run_id: str, keys_by_video: Mapping[str, Collection[str]]) -> None:
    """Raises LeaseLostError with the keys of videos that this run does not hold."""
    missing = not_held(connection, run_id, keys_by_video)
    if missing:
        lost = sorted(key for video_key in missing for key in keys_by_video[video_key])
        raise LeaseLostError(
            f"run {run_id} no longer holds {sorted(missing)[0]}"
            + (f" and {len(missing) - 1} more" if len(missing) > 1 else "")
            + "; another run processes them now",
            lost,
        )


def _gone(run_id: str, keys: Iterable[str]) -> LeaseLostError:
    return LeaseLostError(
        f"run {run_id} is over: it ended, or its lease expired before it was renewed; start a new run",
        keys,
    )


def known(connection: Connection, run_ids: Collection[str]) -> set[str]:
    """The subset of `run_ids` that this catalog contains."""
    return set(connection.scalars(select(runs.c.id).where(runs.c.id.in_(sorted(run_ids)))))
