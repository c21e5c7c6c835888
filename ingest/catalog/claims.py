"""Which videos a run gets next: those without a budget, and those for which an identity is granted.

A video of a rate-limited source is claimed together with a grant, round robin over the queries: one video of
each query at a time, the oldest first. So a search for 10,000 videos does not starve a search for ten.
Platforms share nothing: each has its own queue, and the account that has waited longest asks next.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select
from sqlalchemy.dialects import postgresql, sqlite

from mien.ingest.catalog import egress, runs
from mien.ingest.catalog.egress import Account
from mien.ingest.catalog.queue import (
    CANDIDATE_COLUMNS,
    RATE_LIMITED_SOURCES,
    REMOTE_SOURCES,
    take,
    taken_at,
)
from mien.ingest.catalog.schema import (
    IS_RATE_LIMITED,
    NO_FINGERPRINT,
    PUT_OFF,
    QUEUE_KEY,
    WAITING,
    round_robin,
    videos,
)
from mien.ingest.media import Job
from mien.ingest.rate.identity import Identity

_FREE = select(*CANDIDATE_COLUMNS).where(
    videos.c.state == WAITING,
    videos.c.rate_limited_source == "",
    videos.c.fingerprint == bindparam("fingerprint"),
)
# Started videos come first, then postponed videos that are due, then new ones; each oldest first. Every
# statement reads one range of the index and locks no more than it takes, so another run never mistakes the
# queue for empty.
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
_CLAIMABLE = videos.c.fingerprint.in_([bindparam("fingerprint"), NO_FINGERPRINT])
_OF_PLATFORM = videos.c.rate_limited_source == bindparam("of_platform")
_IS_DUE = (
    IS_RATE_LIMITED,
    _OF_PLATFORM,
    QUEUE_KEY >= "",
    _CLAIMABLE,
    videos.c.next_try_at <= bindparam("now"),
)
_FIRST = (
    select(*CANDIDATE_COLUMNS, QUEUE_KEY.label("queue_key"))
    .where(*_IS_DUE)
    .order_by(QUEUE_KEY, videos.c.seq)
    .limit(1)
    .with_for_update(skip_locked=True)
)
_AFTER = _FIRST.where(bindparam("last_queue_key") < QUEUE_KEY)
_ANY = (
    select(videos.c.seq)
    .where(videos.c.state == WAITING, _OF_PLATFORM, _CLAIMABLE)
    .where(videos.c.next_try_at <= bindparam("now"))
    .limit(1)
)
_LAST_QUEUE_KEY = select(round_robin.c.queue_key).where(round_robin.c.platform == bindparam("of_platform"))
# Written so that the index of postponed videos is used: its first entry is the answer.
_PUT_OFF = (
    select(videos.c.next_try_at)
    .where(PUT_OFF, videos.c.next_try_at > bindparam("now"), videos.c.rate_limited_source != "")
    .where(videos.c.state == WAITING, _CLAIMABLE)
    .order_by(videos.c.next_try_at)
    .limit(1)
)


def _upsert(insert: Any) -> Any:
    statement = insert(round_robin)
    return statement.on_conflict_do_update(
        index_elements=[round_robin.c.platform], set_={"queue_key": statement.excluded.queue_key}
    )


_PUT_QUEUE_KEY = {"sqlite": _upsert(sqlite.insert), "postgresql": _upsert(postgresql.insert)}


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
    """`in_doubt`: this claim, made at `now`, may be committed already; then its result is returned again."""
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
    """Yields videos with the granted identity. The caller takes each before it asks for the next one."""
    if limit < 1 or not identities:
        return
    values = {"fingerprint": own, "now": now}
    accounts: list[Account] = []
    for platform in sorted(RATE_LIMITED_SOURCES):
        if _has_due(connection, values, platform):
            accounts += egress.locked_accounts(connection, now, identities, platform)
    before = {
        platform: connection.scalar(_LAST_QUEUE_KEY, {"of_platform": platform}) or ""
        for platform in {account.platform for account in accounts}
    }
    last = dict(before)
    while limit > 0 and (account := egress.with_room(accounts, now)) is not None:
        platform = account.platform
        scope = {**values, "of_platform": platform}
        row: Any = connection.execute(_AFTER, {**scope, "last_queue_key": last[platform]}).one_or_none()
        row = row or connection.execute(_FIRST, scope).one_or_none()
        if row is None:
            accounts = [other for other in accounts if other.platform != platform]
            continue
        last[platform] = row.queue_key
        egress.grant(connection, now, run_id, account, row.key)
        limit -= 1
        yield row, account.identity.name
    for platform, queue_key in last.items():
        if queue_key != before[platform]:
            connection.execute(
                _PUT_QUEUE_KEY[connection.dialect.name], {"platform": platform, "queue_key": queue_key}
            )


def _has_due(connection: Connection, values: dict[str, Any], platform: str) -> bool:
    return connection.execute(_ANY, {**values, "of_platform": platform}).one_or_none() is not None


def rate_limited_at(
    connection: Connection, now: float, fingerprint: str, identities: Sequence[Identity]
) -> tuple[float | None, float | None]:
    """When a run of `fingerprint` may get another video from a platform: one that is due, as soon as an
    identity has room for it, and one that is postponed. None: there is no such video."""
    values = {"fingerprint": fingerprint, "now": now}
    times = [
        egress.room_at(connection, now, account)
        for platform in sorted(RATE_LIMITED_SOURCES)
        if identities and _has_due(connection, values, platform)
        for account in egress.accounts(connection, now, identities, platform)
    ]
    return min(times, default=None), connection.scalar(_PUT_OFF, values)
