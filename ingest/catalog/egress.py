"""Grants of egress identities, within the transaction that claims the videos they are for.

Every change first locks the identity's row, so that drivers that share a catalog decide one after the other.
The order of locks is the same everywhere: run, grants, identities by name, videos.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, select, true, update
from sqlalchemy.dialects import postgresql, sqlite

from ingest.catalog.records import EgressState, Outcome, Paused, Usage
from ingest.catalog.schema import PUT_OFF, UNSETTLED, WAITING, egress, grants, videos
from ingest.catalog.story import tell
from ingest.rate import circuit, governor
from ingest.rate.governor import WINDOW_SECONDS, Charge
from ingest.rate.identity import Identity
from ingest.rate.standing import Standing

KEEP_SECONDS = 24 * 3600.0
"""For late news of a video; the governor looks back an hour."""
ASK_AGAIN_SECONDS = 5.0
"""While all depends on videos under way, which may be another driver's."""

_COLUMNS = tuple(Standing.__dataclass_fields__)
_STANDING = select(*(egress.c[name] for name in _COLUMNS)).where(egress.c.name == bindparam("identity"))
_LOCKED = _STANDING.with_for_update()
_FIRST = {
    "sqlite": sqlite.insert(egress).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(egress).on_conflict_do_nothing(),
}
_PUT = (
    update(egress)
    .where(egress.c.name == bindparam("identity"))
    .values({name: bindparam(f"new_{name}") for name in _COLUMNS if name != "name"})
)
_IN_WINDOW = (grants.c.identity == bindparam("identity"), grants.c.settled_at > bindparam("since"))
_SPENT = select(
    func.count().label("videos"),
    func.coalesce(func.sum(grants.c.requests), 0).label("requests"),
    func.coalesce(func.sum(grants.c.bytes), 0).label("bytes"),
    func.coalesce(func.sum(case((grants.c.settled_at == UNSETTLED, 1), else_=0)), 0).label("under_way"),
    func.coalesce(func.sum(case((grants.c.probe & (grants.c.settled_at == UNSETTLED), 1), else_=0)), 0).label(
        "probes"
    ),
).where(*_IN_WINDOW)
_LEAVING = (
    select(grants.c.settled_at, grants.c.requests, grants.c.bytes)
    .where(*_IN_WINDOW, grants.c.settled_at < UNSETTLED)
    .order_by(grants.c.settled_at)
)
_FORGET = delete(grants).where(
    grants.c.identity == bindparam("identity"), grants.c.settled_at < bindparam("before")
)
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


@dataclass(slots=True)
class Account:
    """One identity while a claim decides: what it has spent in the window, and how it stands."""

    identity: Identity
    standing: Standing
    spent: Charge
    under_way: int
    probing: bool

    def wanted(self) -> Charge:
        return governor.reserve(self.identity, self.standing)

    def time(self, now: float) -> float:
        return max(now, self.standing.granted_at)

    def may_ask(self, at: float) -> bool:
        wanted = self.wanted()
        if self.standing.is_open and (at < self.standing.paused_until or self.probing):
            return False
        paced = governor.paced_at(self.identity, self.standing, wanted) <= at
        return paced and governor.has_room(self.identity, self.spent, wanted)


def accounts(connection: Connection, now: float, identities: Sequence[Identity]) -> list[Account]:
    """Of all `identities`, their rows locked."""
    found = []
    for identity in sorted(identities, key=lambda identity: identity.name):
        row = connection.execute(_LOCKED, {"identity": identity.name}).one_or_none()
        if row is None:
            connection.execute(_FIRST[connection.dialect.name], [asdict(Standing(name=identity.name))])
            row = connection.execute(_LOCKED, {"identity": identity.name}).one()
        found.append(_account(connection, now, identity, row))
    return found


def seen(connection: Connection, now: float, identities: Sequence[Identity]) -> list[Account]:
    """The same without locks and without a trace: for those who only look."""
    found = []
    for identity in identities:
        row = connection.execute(_STANDING, {"identity": identity.name}).one_or_none()
        found.append(_account(connection, now, identity, row))
    return found


def _account(connection: Connection, now: float, identity: Identity, row: Row[Any] | None) -> Account:
    standing = Standing(name=identity.name) if row is None else Standing(**row._mapping)
    since = max(now, standing.granted_at) - WINDOW_SECONDS
    spent = connection.execute(_SPENT, {"identity": identity.name, "since": since}).one()
    charge = Charge(videos=spent.videos, requests=int(spent.requests), bytes=int(spent.bytes))
    return Account(identity, standing, charge, int(spent.under_way), bool(spent.probes))


def with_room(candidates: Sequence[Account], now: float) -> Account | None:
    """Of those that may ask now the one that has waited longest."""
    able = [account for account in candidates if account.may_ask(account.time(now))]
    return min(able, key=lambda account: account.standing.even_at, default=None)


def grant(connection: Connection, now: float, run_id: str, account: Account, video_key: str) -> None:
    at, wanted = account.time(now), account.wanted()
    row = {
        "identity": account.identity.name,
        "run_id": run_id,
        "video_key": video_key,
        "granted_at": at,
        "settled_at": UNSETTLED,
        "requests": wanted.requests,
        "bytes": wanted.bytes,
        "probe": account.standing.is_open,
    }
    connection.execute(insert(grants), row)
    account.standing = governor.granted(account.identity, account.standing, wanted, at)
    account.spent += wanted
    account.under_way += 1
    account.probing = account.probing or account.standing.is_open
    _put(connection, account.standing)
    connection.execute(_FORGET, {"identity": account.identity.name, "before": at - KEEP_SECONDS})


def room_at(connection: Connection, now: float, account: Account) -> float:
    """The earliest time at which the identity may ask again, as far as that is known."""
    at, wanted = account.time(now), account.wanted()
    if account.standing.is_open and at < account.standing.paused_until:
        return account.standing.paused_until
    if account.standing.is_open and account.probing:
        return at + ASK_AGAIN_SECONDS
    paced = governor.paced_at(account.identity, account.standing, wanted)
    room = governor.room_after(account.identity, account.spent, wanted, _leaving(connection, at, account))
    return max(at, paced, at + ASK_AGAIN_SECONDS if math.isinf(room) else room)


def _leaving(connection: Connection, at: float, account: Account) -> Iterator[tuple[float, Charge]]:
    rows = connection.execute(_LEAVING, {"identity": account.identity.name, "since": at - WINDOW_SECONDS})
    for row in rows:
        yield row.settled_at + WINDOW_SECONDS, Charge(videos=1, requests=row.requests, bytes=row.bytes)


def settle(connection: Connection, now: float, run_id: str, video_key: str, usage: Usage) -> Paused | None:
    """Debits what the run's last grant for the video took; its identity's pause, if that was refused."""
    row = connection.execute(_LAST, {"key": video_key, "run": run_id}).one_or_none()
    if row is None:
        return None
    at = max(now, row.granted_at)
    known = usage.requests > 0 or usage.bytes > 0
    values = {
        "grant": row.seq,
        "at": at,
        "took_requests": usage.requests if known else None,
        "took_bytes": usage.bytes if known else None,
    }
    connection.execute(_SETTLE, values)
    found = connection.execute(_LOCKED, {"identity": row.identity}).one_or_none()
    if found is None:
        return None
    before = standing = Standing(**found._mapping)
    if usage.outcome is Outcome.UNASKED:
        connection.execute(delete(grants).where(grants.c.seq == row.seq))
        standing = replace(standing, even_at=min(standing.even_at, at))
    elif usage.outcome is Outcome.SUCCEEDED:
        standing = circuit.succeeded(standing, at, probe=row.probe)
        if known:
            standing = governor.learned(standing, usage.requests, usage.bytes)
    elif usage.outcome is Outcome.REFUSED:
        standing = _refused(standing, at, usage, probe=row.probe)
    if standing != before:
        _put(connection, standing)
        if said := _said_of_circuit(before, standing):
            tell(connection, now, run_id, [(video_key, *said)])
    if usage.outcome is not Outcome.REFUSED:
        return None
    return Paused(identity=row.identity, until=standing.paused_until, succeeded_at=standing.succeeded_at)


def record_listing(connection: Connection, now: float, identity: Identity, usage: Usage) -> None:
    """Debits what a search took, which nobody granted; counted as one video. A refusal opens the circuit."""
    (account,) = accounts(connection, now, [identity])
    at, standing = account.time(now), account.standing
    row = {
        "identity": identity.name,
        "run_id": "",
        "video_key": "",
        "granted_at": at,
        "settled_at": at,
        "requests": usage.requests,
        "bytes": usage.bytes,
        "probe": False,
    }
    connection.execute(insert(grants), row)
    if usage.outcome is Outcome.REFUSED:
        _put(
            connection, _refused(standing, at, usage, probe=standing.is_open and standing.paused_until <= at)
        )


def _refused(standing: Standing, at: float, usage: Usage, *, probe: bool) -> Standing:
    refused = circuit.refused(
        standing,
        at,
        probe=probe,
        retry_after_seconds=usage.retry_after_seconds,
        chance=random.random(),  # noqa: S311 (spreads, protects nothing)
    )
    return replace(refused, error_class=usage.error_class, error_text=usage.error_text[:500])


def _said_of_circuit(before: Standing, after: Standing) -> tuple[str, str] | None:
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


def states(connection: Connection, now: float, identities: Sequence[Identity]) -> list[EgressState]:
    return [
        EgressState(
            name=account.identity.name,
            videos=account.spent.videos,
            requests=account.spent.requests,
            bytes=account.spent.bytes,
            under_way=account.under_way,
            room_at=room_at(connection, now, account),
            paused_until=account.standing.paused_until or None,
            strikes=account.standing.strikes,
            mean_requests=account.standing.mean_requests,
            mean_bytes=account.standing.mean_bytes,
            error_class=account.standing.error_class,
            error_text=account.standing.error_text,
        )
        for account in seen(connection, now, identities)
    ]


def reopen(connection: Connection, identity: str) -> bool:
    """Ends the pause; what was put off with it is due at once."""
    found = connection.execute(_LOCKED, {"identity": identity}).one_or_none()
    if found is None or not found.paused_until:
        return False
    _put(connection, replace(Standing(**found._mapping), paused_until=0.0, strikes=0, cooldown_seconds=0.0))
    connection.execute(_DUE_NOW, {"class": found.error_class})
    return True


def _put(connection: Connection, standing: Standing) -> None:
    values = {f"new_{name}": value for name, value in asdict(standing).items() if name != "name"}
    connection.execute(_PUT, {"identity": standing.name, **values})
