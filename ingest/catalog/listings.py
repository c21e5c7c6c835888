"""Grants for pages of lists (searches, channels, playlists). They belong to no run and no video.

A page is one request. It is granted before it is sent, within the same budgets and circuits as videos, and
settled after the answer. A process that is killed in between has no lease that would reveal this. So its
grant counts as in progress for at most `IN_PROGRESS_SECONDS`, and leaves the window an hour after that.
"""

from __future__ import annotations

from sqlalchemy import Connection, bindparam, select, update

from mien.ingest.catalog.egress import FIRST_PAGE, NO_RUN, NO_VIDEO, grant, locked_accounts, put, room_at
from mien.ingest.catalog.records import Outcome, PageGrant, Usage
from mien.ingest.catalog.schema import grants
from mien.ingest.catalog.settlement import refused
from mien.ingest.errors import BotWallError
from mien.ingest.rate import circuit
from mien.ingest.rate.governor import page_charge
from mien.ingest.rate.identity import Identity

IN_PROGRESS_SECONDS = 600.0

_PLATFORM = select(grants.c.platform).where(grants.c.seq == bindparam("grant"))
_ROW = select(grants.c.granted_at, grants.c.settled_at, grants.c.probe).where(
    grants.c.seq == bindparam("grant")
)
_SETTLE = (
    update(grants)
    .where(grants.c.seq == bindparam("grant"))
    .values(settled_at=bindparam("at"), bytes=bindparam("took_bytes"))
)


def grant_page(
    connection: Connection, now: float, identity: Identity, platform: str, *, is_first: bool
) -> PageGrant:
    (account,) = locked_accounts(connection, now, [identity], platform)
    at, charge = account.time(now), page_charge(identity, is_first=is_first)
    state = account.state
    if account.may_ask(at, charge):
        key = FIRST_PAGE if is_first else NO_VIDEO
        number = grant(
            connection, now, NO_RUN, account, key, charge=charge, settled_at=at + IN_PROGRESS_SECONDS
        )
        return PageGrant(number=number, room_at=at, is_paused=False)
    is_paused = state.is_open and at < state.paused_until
    return PageGrant(number=None, room_at=room_at(connection, now, account, charge), is_paused=is_paused)


def settle_page(connection: Connection, now: float, number: int, identity: Identity, usage: Usage) -> None:
    """A refusal opens the circuit of the identity on the platform of the grant.

    A page that loads does not close a circuit that a bot wall opened: only the player shows that wall.
    """
    platform = connection.scalar(_PLATFORM, {"grant": number})
    if platform is None:
        return
    (account,) = locked_accounts(connection, now, [identity], platform)
    row = connection.execute(_ROW, {"grant": number}).one()
    at, state = max(now, row.granted_at), account.state
    if row.settled_at == at:  # already committed; the answer was lost
        return
    connection.execute(_SETTLE, {"grant": number, "at": at, "took_bytes": usage.bytes})
    if usage.outcome is Outcome.REFUSED:
        state = refused(state, at, usage, probe=row.probe)
    elif usage.outcome is Outcome.SUCCEEDED and state.error_class != BotWallError.__name__:
        state = circuit.succeeded(state, at, probe=row.probe)
    if state != account.state:
        put(connection, state)
