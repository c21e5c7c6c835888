"""Which videos a run gets next: those that need nobody's leave, and those that an identity is granted.

What must be had from a platform is claimed together with a grant, and in turns: one video of each query
after the other, the oldest of it first, so that a search for 10,000 does not starve one for ten.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, false, select, true
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog import egress, runs
from mien.ingest.catalog.queue import CANDIDATE_COLUMNS, REMOTE_SOURCES, take, taken_at
from mien.ingest.catalog.schema import GOVERNED, LANE, NO_FINGERPRINT, PUT_OFF, WAITING, cursors, videos
from mien.ingest.media import Job
from mien.ingest.rate.identity import Identity

TURN = "governed"

_FREE = select(*CANDIDATE_COLUMNS).where(
    videos.c.state == WAITING,
    videos.c.governed == false(),
    videos.c.fingerprint == bindparam("fingerprint"),
)
# What was begun comes first, then what was put off and is due, then what is new; each in order of age. Every
# query is one range of the index, and locks no more than it takes: another run never sees a false end.
_FRESH = (
    _FREE.where(videos.c.next_try_at == 0.0)
    .order_by(videos.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_DUE = (
    _FREE.where(videos.c.next_try_at > 0.0, videos.c.next_try_at <= bindparam("now"))
    .order_by(videos.c.next_try_at, videos.c.seq)
    .limit(bindparam("limit"))
    .with_for_update(skip_locked=True)
)
_LOCAL = videos.c.source.not_in(sorted(REMOTE_SOURCES))
_FRESH_LOCAL, _DUE_LOCAL = _FRESH.where(_LOCAL), _DUE.where(_LOCAL)
_OURS = videos.c.fingerprint.in_([bindparam("fingerprint"), NO_FINGERPRINT])
_MAY = (GOVERNED, LANE >= "", _OURS, videos.c.next_try_at <= bindparam("now"))
_FIRST = (
    select(*CANDIDATE_COLUMNS, LANE.label("lane"))
    .where(*_MAY)
    .order_by(LANE, videos.c.seq)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_AFTER = _FIRST.where(bindparam("lane") < LANE)
_ANY = (
    select(videos.c.seq)
    .where(videos.c.state == WAITING, videos.c.governed == true(), _OURS)
    .where(videos.c.next_try_at <= bindparam("now"))
    .limit(1)
)
_TURN = select(cursors.c.value).where(cursors.c.name == TURN)
# In words that no index of all that waits fits: the next is the first of those that are put off.
_PUT_OFF = (
    select(videos.c.next_try_at)
    .where(PUT_OFF, videos.c.next_try_at > bindparam("now"), videos.c.governed == true())
    .where(videos.c.state == WAITING, _OURS)
    .order_by(videos.c.next_try_at)
    .limit(1)
)


def _putting(insert: Any) -> Any:
    statement = insert(cursors)
    return statement.on_conflict_do_update(
        index_elements=[cursors.c.name], set_={"value": statement.excluded.value}
    )


_PUT_TURN = {"sqlite": _putting(sqlite.insert), "postgresql": _putting(postgresql.insert)}


def claim(
    connection: Connection,
    now: float,
    run_id: str,
    *,
    limit: int,
    asking: int,
    identities: Sequence[Identity],
    only_local: bool = False,
    in_doubt: bool = False,
) -> list[Job]:
    """`in_doubt`: this claim, made at `now`, may have been committed already; then it is what it was."""
    own = runs.require_alive(connection, now, run_id)
    if in_doubt and (before := taken_at(connection, now, run_id)):
        return before
    runs.end_expired(connection, now)
    jobs: list[Job] = []
    granted = _granted(connection, now, run_id, own=own, limit=min(limit, asking), identities=identities)
    for row, identity in granted:
        jobs += take(connection, now, run_id, [row], own=own, identity=identity)
    free: list[Row[Any]] = []
    fresh, due = (_FRESH_LOCAL, _DUE_LOCAL) if only_local else (_FRESH, _DUE)
    for statement, fingerprint in ((fresh, own), (due, own), (due, NO_FINGERPRINT), (fresh, NO_FINGERPRINT)):
        if len(jobs) + len(free) < limit:
            values = {"fingerprint": fingerprint, "now": now, "limit": limit - len(jobs) - len(free)}
            if statement is fresh:
                del values["now"]
            free += connection.execute(statement, values)
    return jobs + take(connection, now, run_id, free, own=own)


def _granted(
    connection: Connection,
    now: float,
    run_id: str,
    *,
    own: str,
    limit: int,
    identities: Sequence[Identity],
) -> Iterator[tuple[Row[Any], str]]:
    """Videos with the identity that each was granted. The caller takes each before it asks for another."""
    if limit < 1 or not identities:
        return
    values = {"fingerprint": own, "now": now}
    if connection.execute(_ANY, values).one_or_none() is None:
        return
    accounts = egress.accounts(connection, now, identities)
    lane = before = connection.scalar(_TURN) or ""
    for _ in range(limit):
        account = egress.with_room(accounts, now)
        if account is None:
            break
        row: Any = connection.execute(_AFTER, {**values, "lane": lane}).one_or_none()
        row = row or connection.execute(_FIRST, values).one_or_none()
        if row is None:
            break
        lane = row.lane
        egress.grant(connection, now, run_id, account, row.key)
        yield row, account.identity.name
    if lane != before:
        connection.execute(_PUT_TURN[connection.dialect.name], {"name": TURN, "value": lane})


def governed_at(
    connection: Connection, now: float, fingerprint: str, identities: Sequence[Identity]
) -> tuple[float | None, float | None]:
    """When a run of `fingerprint` may get another video from a platform: of those that are due, once an
    identity has room, and of those that are put off. None: there are none."""
    values = {"fingerprint": fingerprint, "now": now}
    due = None
    if identities and connection.execute(_ANY, values).one_or_none() is not None:
        due = min(egress.room_at(connection, now, each) for each in egress.seen(connection, now, identities))
    return due, connection.scalar(_PUT_OFF, values)
