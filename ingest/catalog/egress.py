"""Grants of egress identities, inside the transaction that claims the videos they are for.

Budgets and circuits are kept per identity and platform. Every change first locks the row of the identity on
that platform, so drivers that share a catalog decide one after the other. Locks are always taken in the same
order: run, grants, egress rows by platform and identity, videos.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, delete, func, insert, or_, select, union, update
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog.records import EgressStatus
from mien.ingest.catalog.schema import UNSETTLED, WAITING, egress, grants, videos
from mien.ingest.platforms import PLATFORMS
from mien.ingest.rate import governor
from mien.ingest.rate.egress_state import EgressState
from mien.ingest.rate.governor import WINDOW_SECONDS, Charge
from mien.ingest.rate.identity import Identity

RETENTION_SECONDS = 24 * 3600.0
"""Grants are kept this long for late reports of a video; the governor looks back one hour."""
POLL_SECONDS = 5.0
"""Retry interval while everything depends on videos in progress, which may belong to another driver."""
NO_RUN, NO_VIDEO = "", ""
FIRST_PAGE = "a list"
"""Grants for list pages have these values instead of a run and a video key. Only the first page of a list
counts as a video, so searches are paced too."""

_COLUMNS = tuple(EgressState.__dataclass_fields__)
_KEY = ("name", "platform")
_IS_THIS = (egress.c.name == bindparam("identity"), egress.c.platform == bindparam("of_platform"))
_STATE = select(*(egress.c[name] for name in _COLUMNS)).where(*_IS_THIS)
_LOCKED_STATE = _STATE.with_for_update()
_LOCKED_STATES = select(*(egress.c[name] for name in _COLUMNS)).where(egress.c.name == bindparam("identity"))
_INSERT = {
    "sqlite": sqlite.insert(egress).on_conflict_do_nothing(),
    "postgresql": postgresql.insert(egress).on_conflict_do_nothing(),
}
_UPDATE = (
    update(egress)
    .where(*_IS_THIS)
    .values({name: bindparam(f"new_{name}") for name in _COLUMNS if name not in _KEY})
)
_IN_WINDOW = (
    grants.c.identity == bindparam("identity"),
    grants.c.platform == bindparam("of_platform"),
    grants.c.settled_at > bindparam("since"),
)
_IN_PROGRESS = or_(
    grants.c.settled_at == UNSETTLED, (grants.c.run_id == NO_RUN) & (grants.c.settled_at > bindparam("now"))
)
_SPENT = select(
    func.coalesce(func.sum(case((grants.c.video_key != NO_VIDEO, 1), else_=0)), 0).label("videos"),
    func.coalesce(func.sum(case((grants.c.video_key == FIRST_PAGE, 1), else_=0)), 0).label("lists"),
    func.coalesce(func.sum(grants.c.requests), 0).label("requests"),
    func.coalesce(func.sum(grants.c.bytes), 0).label("bytes"),
    func.coalesce(func.sum(case((_IN_PROGRESS, 1), else_=0)), 0).label("in_progress"),
    func.coalesce(func.sum(case((grants.c.probe & _IN_PROGRESS, 1), else_=0)), 0).label("probes"),
).where(*_IN_WINDOW)
_LEAVING = (
    select(grants.c.settled_at, grants.c.video_key, grants.c.requests, grants.c.bytes)
    .where(*_IN_WINDOW, grants.c.settled_at < UNSETTLED)
    .order_by(grants.c.settled_at)
)
_FORGET = delete(grants).where(
    grants.c.identity == bindparam("identity"),
    grants.c.platform == bindparam("of_platform"),
    grants.c.settled_at < bindparam("before"),
)


@dataclass(slots=True)
class Account:
    """One identity on one platform during a claim: its state, and what it spent in the window."""

    identity: Identity
    state: EgressState
    spent: Charge
    in_progress: int
    is_probing: bool
    lists: int = 0
    """How many of the spent videos stand for a list."""

    @property
    def platform(self) -> str:
        return self.state.platform

    @property
    def key(self) -> dict[str, str]:
        return {"identity": self.identity.name, "of_platform": self.platform}

    def reserve(self) -> Charge:
        return governor.reserve(self.identity, self.state)

    def time(self, now: float) -> float:
        return max(now, self.state.granted_at)

    def may_ask(self, at: float, charge: Charge | None = None) -> bool:
        charge = charge or self.reserve()
        if self.state.is_open and (at < self.state.paused_until or self.is_probing):
            return False
        is_paced = governor.paced_at(self.identity, self.state, charge) <= at
        return is_paced and governor.has_room(self.identity, self.spent, charge)


def locked_accounts(
    connection: Connection, now: float, identities: Sequence[Identity], platform: str
) -> list[Account]:
    """The accounts of all `identities` on `platform`, with their rows locked."""
    found = []
    for identity in sorted(identities, key=lambda identity: identity.name):
        row = locked_row(connection, identity.name, platform)
        if row is None:
            state = EgressState(name=identity.name, platform=platform)
            connection.execute(_INSERT[connection.dialect.name], [asdict(state)])
            row = locked_row(connection, identity.name, platform)
        found.append(_account(connection, now, identity, platform, row))
    return found


def accounts(
    connection: Connection, now: float, identities: Sequence[Identity], platform: str
) -> list[Account]:
    """The same without locking or creating rows, for readers."""
    found = []
    for identity in identities:
        row = connection.execute(_STATE, {"identity": identity.name, "of_platform": platform}).one_or_none()
        found.append(_account(connection, now, identity, platform, row))
    return found


def _account(
    connection: Connection, now: float, identity: Identity, platform: str, row: Row[Any] | None
) -> Account:
    state = EgressState(name=identity.name, platform=platform) if row is None else state_of(row)
    identity = identity.on(videos_per_hour=PLATFORMS[platform].videos_per_hour)
    at = max(now, state.granted_at)
    values = {
        "identity": identity.name,
        "of_platform": platform,
        "since": at - WINDOW_SECONDS,
        "now": at,
    }
    spent = connection.execute(_SPENT, values).one()
    charge = Charge(videos=int(spent.videos), requests=int(spent.requests), bytes=int(spent.bytes))
    return Account(identity, state, charge, int(spent.in_progress), bool(spent.probes), int(spent.lists))


def locked_row(connection: Connection, identity: str, platform: str) -> Row[Any] | None:
    return connection.execute(_LOCKED_STATE, {"identity": identity, "of_platform": platform}).one_or_none()


def states_of(connection: Connection, identity: str) -> list[EgressState]:
    """The state of the identity on each platform that it has used."""
    return [state_of(row) for row in connection.execute(_LOCKED_STATES, {"identity": identity})]


def state_of(row: Row[Any]) -> EgressState:
    return EgressState(**row._mapping)


def with_room(candidates: Sequence[Account], now: float) -> Account | None:
    """Of the accounts that may ask now, the one that has waited longest."""
    able = [account for account in candidates if account.may_ask(account.time(now))]
    return min(able, key=lambda account: account.state.even_at, default=None)


def grant(
    connection: Connection,
    now: float,
    run_id: str,
    account: Account,
    video_key: str,
    *,
    charge: Charge | None = None,
    settled_at: float = UNSETTLED,
) -> int:
    """Returns the number of the grant. `charge` replaces the reserve of a video."""
    at, charge = account.time(now), charge or account.reserve()
    row = {
        "identity": account.identity.name,
        "platform": account.platform,
        "run_id": run_id,
        "video_key": video_key,
        "granted_at": at,
        "settled_at": settled_at,
        "requests": charge.requests,
        "bytes": charge.bytes,
        "probe": account.state.is_open,
    }
    number = int(connection.execute(insert(grants).returning(grants.c.seq), row).scalar_one())
    account.state = governor.granted(account.identity, account.state, charge, at)
    account.spent += charge
    account.in_progress += 1
    account.is_probing = account.is_probing or account.state.is_open
    put(connection, account.state)
    connection.execute(_FORGET, {**account.key, "before": at - RETENTION_SECONDS})
    return number


def room_at(connection: Connection, now: float, account: Account, charge: Charge | None = None) -> float:
    """The earliest known time at which the identity may ask the platform again."""
    at, charge = account.time(now), charge or account.reserve()
    if account.state.is_open and at < account.state.paused_until:
        return account.state.paused_until
    if account.state.is_open and account.is_probing:
        return at + POLL_SECONDS
    paced = governor.paced_at(account.identity, account.state, charge)
    room = governor.room_after(account.identity, account.spent, charge, _leaving(connection, at, account))
    return max(at, paced, at + POLL_SECONDS if math.isinf(room) else room)


def _leaving(connection: Connection, at: float, account: Account) -> Iterator[tuple[float, Charge]]:
    for row in connection.execute(_LEAVING, {**account.key, "since": at - WINDOW_SECONDS}):
        videos = int(row.video_key != NO_VIDEO)
        yield row.settled_at + WINDOW_SECONDS, Charge(videos=videos, requests=row.requests, bytes=row.bytes)


def statuses(
    connection: Connection, now: float, identities: Sequence[Identity], platforms: Sequence[str]
) -> list[EgressStatus]:
    """Ordered by platform, then by identity, as given."""
    return [
        EgressStatus(
            name=account.identity.name,
            platform=platform,
            videos=account.spent.videos,
            lists=account.lists,
            requests=account.spent.requests,
            bytes=account.spent.bytes,
            limits=governor.budget(account.identity),
            in_progress=account.in_progress,
            room_at=room_at(connection, now, account),
            paused_until=account.state.paused_until or None,
            strikes=account.state.strikes,
            mean_requests=account.state.mean_requests,
            mean_bytes=account.state.mean_bytes,
            error_class=account.state.error_class,
            error_text=account.state.error_text,
        )
        for platform in platforms
        for account in accounts(connection, now, identities, platform)
    ]


def platforms_in_use(connection: Connection) -> list[str]:
    """The platforms that were asked before, or have videos waiting."""
    waiting = select(videos.c.rate_limited_source).where(
        videos.c.state == WAITING, videos.c.rate_limited_source != ""
    )
    return sorted(PLATFORMS.keys() & set(connection.scalars(union(select(egress.c.platform), waiting))))


def put(connection: Connection, state: EgressState) -> None:
    values = {f"new_{name}": value for name, value in asdict(state).items() if name not in _KEY}
    connection.execute(_UPDATE, {"identity": state.name, "of_platform": state.platform, **values})
