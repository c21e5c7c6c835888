"""Grants of egress identities, within the transaction that claims the videos they are for.

Every change first locks the identity's row, so that drivers that share a catalog decide one after the other.
The order of locks is the same everywhere: run, grants, identities by name, videos.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog.records import EgressStatus
from mien.ingest.catalog.schema import UNSETTLED, egress, grants
from mien.ingest.rate import governor
from mien.ingest.rate.egress_state import EgressState
from mien.ingest.rate.governor import WINDOW_SECONDS, Charge
from mien.ingest.rate.identity import Identity

KEEP_SECONDS = 24 * 3600.0
"""For late news of a video; the governor looks back an hour."""
ASK_AGAIN_SECONDS = 5.0
"""While all depends on videos under way, which may be another driver's."""
NO_RUN, NO_VIDEO = "", ""
FIRST_PAGE = "a list"
"""Of grants for pages of lists, instead of a run and a video's key. No run has them, and only the first page
of a list counts as a video: so searches have a pace, too."""

_COLUMNS = tuple(EgressState.__dataclass_fields__)
_STANDING = select(*(egress.c[name] for name in _COLUMNS)).where(egress.c.name == bindparam("identity"))
LOCKED = _STANDING.with_for_update()
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
_GOING = or_(
    grants.c.settled_at == UNSETTLED, (grants.c.run_id == NO_RUN) & (grants.c.settled_at > bindparam("now"))
)
_SPENT = select(
    func.coalesce(func.sum(case((grants.c.video_key != NO_VIDEO, 1), else_=0)), 0).label("videos"),
    func.coalesce(func.sum(case((grants.c.video_key == FIRST_PAGE, 1), else_=0)), 0).label("lists"),
    func.coalesce(func.sum(grants.c.requests), 0).label("requests"),
    func.coalesce(func.sum(grants.c.bytes), 0).label("bytes"),
    func.coalesce(func.sum(case((_GOING, 1), else_=0)), 0).label("under_way"),
    func.coalesce(func.sum(case((grants.c.probe & _GOING, 1), else_=0)), 0).label("probes"),
).where(*_IN_WINDOW)
_LEAVING = (
    select(grants.c.settled_at, grants.c.video_key, grants.c.requests, grants.c.bytes)
    .where(*_IN_WINDOW, grants.c.settled_at < UNSETTLED)
    .order_by(grants.c.settled_at)
)
_FORGET = delete(grants).where(
    grants.c.identity == bindparam("identity"), grants.c.settled_at < bindparam("before")
)


@dataclass(slots=True)
class Account:
    """One identity while a claim decides: what it has spent in the window, and how it stands."""

    identity: Identity
    standing: EgressState
    spent: Charge
    under_way: int
    probing: bool
    lists: int = 0
    """Of the videos that were spent, those that stand for a list."""

    def wanted(self) -> Charge:
        return governor.reserve(self.identity, self.standing)

    def time(self, now: float) -> float:
        return max(now, self.standing.granted_at)

    def may_ask(self, at: float, wanted: Charge | None = None) -> bool:
        wanted = wanted or self.wanted()
        if self.standing.is_open and (at < self.standing.paused_until or self.probing):
            return False
        paced = governor.paced_at(self.identity, self.standing, wanted) <= at
        return paced and governor.has_room(self.identity, self.spent, wanted)


def accounts(connection: Connection, now: float, identities: Sequence[Identity]) -> list[Account]:
    """Of all `identities`, their rows locked."""
    found = []
    for identity in sorted(identities, key=lambda identity: identity.name):
        row = connection.execute(LOCKED, {"identity": identity.name}).one_or_none()
        if row is None:
            connection.execute(_FIRST[connection.dialect.name], [asdict(EgressState(name=identity.name))])
            row = connection.execute(LOCKED, {"identity": identity.name}).one()
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
    standing = EgressState(name=identity.name) if row is None else EgressState(**row._mapping)
    at = max(now, standing.granted_at)
    values = {"identity": identity.name, "since": at - WINDOW_SECONDS, "now": at}
    spent = connection.execute(_SPENT, values).one()
    charge = Charge(videos=int(spent.videos), requests=int(spent.requests), bytes=int(spent.bytes))
    return Account(identity, standing, charge, int(spent.under_way), bool(spent.probes), int(spent.lists))


def with_room(candidates: Sequence[Account], now: float) -> Account | None:
    """Of those that may ask now the one that has waited longest."""
    able = [account for account in candidates if account.may_ask(account.time(now))]
    return min(able, key=lambda account: account.standing.even_at, default=None)


def grant(
    connection: Connection,
    now: float,
    run_id: str,
    account: Account,
    video_key: str,
    *,
    wanted: Charge | None = None,
    settled_at: float = UNSETTLED,
) -> int:
    """The number of the grant. `wanted`: what is charged, if it is no video's reserve."""
    at, wanted = account.time(now), wanted or account.wanted()
    row = {
        "identity": account.identity.name,
        "run_id": run_id,
        "video_key": video_key,
        "granted_at": at,
        "settled_at": settled_at,
        "requests": wanted.requests,
        "bytes": wanted.bytes,
        "probe": account.standing.is_open,
    }
    number = int(connection.execute(insert(grants).returning(grants.c.seq), row).scalar_one())
    account.standing = governor.granted(account.identity, account.standing, wanted, at)
    account.spent += wanted
    account.under_way += 1
    account.probing = account.probing or account.standing.is_open
    put(connection, account.standing)
    connection.execute(_FORGET, {"identity": account.identity.name, "before": at - KEEP_SECONDS})
    return number


def room_at(connection: Connection, now: float, account: Account, wanted: Charge | None = None) -> float:
    """The earliest time at which the identity may ask again, as far as that is known."""
    at, wanted = account.time(now), wanted or account.wanted()
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
        videos = int(row.video_key != NO_VIDEO)
        yield row.settled_at + WINDOW_SECONDS, Charge(videos=videos, requests=row.requests, bytes=row.bytes)


def states(connection: Connection, now: float, identities: Sequence[Identity]) -> list[EgressStatus]:
    return [
        EgressStatus(
            name=account.identity.name,
            videos=account.spent.videos,
            lists=account.lists,
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


def put(connection: Connection, standing: EgressState) -> None:
    values = {f"new_{name}": value for name, value in asdict(standing).items() if name != "name"}
    connection.execute(_PUT, {"identity": standing.name, **values})
