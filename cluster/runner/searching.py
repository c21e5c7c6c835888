"""What `mien search` does: queries into rows of the catalog, each in its turn."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from itertools import islice
from typing import TypeVar

from cluster.config import Settings
from ingest.catalog import Catalog, Outcome, Usage
from ingest.errors import FetchError, MienError, RateLimitedError
from ingest.media import VideoRef, Wanted
from ingest.youtube.address import Address
from ingest.youtube.lists import Lister
from ingest.youtube.search import address_of, find

T = TypeVar("T")

BATCH = 50
"""What a killed search may lose; the same search again finds it again."""


@dataclass(slots=True)
class Asked:
    """One query, and what came of it."""

    query: str
    new: int = 0
    known: int = 0
    """Found before: by another search, or by another of these queries."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Results that are not as wanted, by reason."""
    error: MienError | None = None
    """What ended it early; what it had found by then counts."""


@dataclass(slots=True)
class SearchResult:
    queries: list[Asked]
    new: list[VideoRef] = field(default_factory=list)
    known: list[VideoRef] = field(default_factory=list)
    """Each video once, in the order in which it was found."""
    requests: Counter[str] = field(default_factory=Counter)
    """Asked of YouTube, by egress identity."""


def search(
    settings: Settings,
    queries: Iterable[str],
    *,
    wanted: Wanted,
    limit: int,
    newest_first: bool = False,
    dry_run: bool = False,
    show: Callable[[int], None] = lambda found: None,
) -> SearchResult:
    """Finds at most `limit` videos of each query and adds them; `dry_run` only says which are new.

    Queries take turns, result by result, so that a run which takes the oldest first is fair to them. `show`
    is told how many videos were found so far.

    Raises:
        UsageError: a query that is an address of YouTube without videos; nothing was asked yet.
        CatalogError: the catalog cannot be opened.
    """
    addresses = {address.url: address for address in map(address_of, queries)}
    result = SearchResult([Asked(address.name) for address in addresses.values()])
    with _catalog(settings, dry_run=dry_run) as catalog:
        lister = lister_of(settings, catalog)
        with reported(catalog, lister):
            streams = [
                _found(lister, address, asked, wanted=wanted, limit=limit, newest_first=newest_first)
                for address, asked in zip(addresses.values(), result.queries, strict=True)
            ]
            seen: set[str] = set()
            turns = in_turns(streams)
            while batch := list(islice(turns, BATCH)):
                new = _new_keys(catalog, [ref for _, ref in batch], dry_run=dry_run)
                for asked, ref in batch:
                    first = ref.key not in seen
                    seen.add(ref.key)
                    if first:
                        (result.new if ref.key in new else result.known).append(ref)
                    if first and ref.key in new:
                        asked.new += 1
                    else:
                        asked.known += 1
                show(len(seen))
        result.requests = lister.requests
    return result


def lister_of(settings: Settings, catalog: Catalog | None) -> Lister:
    """Asks as the configured identities, but for those whose circuit is open."""
    acquire = settings.acquire
    refused: dict[str, MienError] = {}
    states = [] if catalog is None else catalog.egress(acquire.identities)
    now = datetime.now(UTC).timestamp()
    for state in states:
        if state.paused_until is not None and state.paused_until > now:
            until = datetime.fromtimestamp(state.paused_until, UTC).isoformat(timespec="seconds")
            refused[state.name] = RateLimitedError(
                f"identity {state.name} is paused until {until}; wait, or use another one"
            )
    return Lister(
        identities=acquire.identities,
        ytdlp_options=acquire.ytdlp_options,
        timeout_seconds=settings.fetch.timeout_seconds,
        refused=refused,
    )


@contextlib.contextmanager
def reported(catalog: Catalog | None, lister: Lister) -> Iterator[None]:
    """Debits at the end what `lister` asked, and opens the circuit of an identity that was refused."""
    known = set(lister.refused)
    try:
        yield
    finally:
        for identity in lister.identities:
            error = lister.refused.get(identity.name) if identity.name not in known else None
            usage = Usage(
                outcome=Outcome.SUCCEEDED if error is None else Outcome.REFUSED,
                requests=lister.requests[identity.name],
                bytes=lister.bytes[identity.name],
                retry_after_seconds=getattr(error, "retry_after_seconds", None),
                error_class="" if error is None else type(error).__name__,
                error_text=str(error or ""),
            )
            if catalog is not None and (usage.requests or error is not None):
                catalog.record_listing(identity, usage)


def in_turns(streams: Iterable[Iterator[T]]) -> Iterator[T]:
    """One of each stream, again and again, until all have ended."""
    waiting = list(streams)
    while waiting:
        going = []
        for stream in waiting:
            with contextlib.suppress(StopIteration):
                yield next(stream)
                going.append(stream)
        waiting = going


def _found(
    lister: Lister, address: Address, asked: Asked, *, wanted: Wanted, limit: int, newest_first: bool
) -> Iterator[tuple[Asked, VideoRef]]:
    """A query that fails does not keep the others from going on."""
    found = find(
        lister, address, wanted=wanted, limit=limit, newest_first=newest_first, left_out=asked.left_out
    )
    try:
        for ref in found:
            yield asked, ref
    except FetchError as error:
        asked.error = error


def _new_keys(catalog: Catalog | None, refs: list[VideoRef], *, dry_run: bool) -> set[str]:
    if catalog is None:
        return {ref.key for ref in refs}
    if dry_run:
        return {ref.key for ref in refs} - catalog.states([ref.key for ref in refs]).keys()
    return set(catalog.add(refs).new)


@contextlib.contextmanager
def _catalog(settings: Settings, *, dry_run: bool) -> Iterator[Catalog | None]:
    """None where there is no catalog yet and none is to be made."""
    file = settings.store.catalog_file
    if dry_run and file is not None and not file.exists():
        yield None
        return
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        yield catalog
