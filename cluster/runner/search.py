"""What `mien search` does: queries into rows of the catalog, each in its turn."""

from __future__ import annotations

import contextlib
import tempfile
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import TypeVar

from mien.cluster.config import Settings
from mien.cluster.logs import get_logger
from mien.cluster.runner.page_client import BudgetedPageClient
from mien.ingest.catalog import Catalog
from mien.ingest.errors import FetchError, MienError
from mien.ingest.media import SearchFilter, VideoRef
from mien.ingest.youtube.address import Address
from mien.ingest.youtube.lists import Lister
from mien.ingest.youtube.search import address_of, find

T = TypeVar("T")

_log = get_logger("mien.run")

BATCH = 50
"""What a killed search may lose; the same search again finds it again."""


@dataclass(slots=True)
class QueryResult:
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
    queries: list[QueryResult]
    new: list[VideoRef] = field(default_factory=list)
    known: list[VideoRef] = field(default_factory=list)
    """Each video once, in the order in which it was found."""
    requests: Counter[str] = field(default_factory=Counter)
    """Asked of YouTube, by egress identity."""


def search(
    settings: Settings,
    queries: Iterable[str],
    *,
    wanted: SearchFilter,
    limit: int,
    newest_first: bool = False,
    dry_run: bool = False,
    on_found: Callable[[int], None] = lambda found: None,
) -> SearchResult:
    """Finds at most `limit` videos of each query and adds them; `dry_run` only says which are new.

    Queries take turns, result by result, so that a run which takes the oldest first is fair to them. `show`
    is told how many videos were found so far, `say` what is waited for.

    Raises:
        UsageError: a query that is an address of YouTube without videos; nothing was asked yet.
        CatalogError: the catalog cannot be opened.
    """
    addresses = {address.url: address for address in map(address_of, queries)}
    result = SearchResult([QueryResult(address.name) for address in addresses.values()])
    with _catalog(settings, dry_run=dry_run) as catalog:
        lister = lister_of(settings, catalog)
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
            on_found(len(seen))
        result.requests = lister.requests
    return result


def lister_of(settings: Settings, catalog: Catalog) -> Lister:
    """Asks as the configured identities, within their budgets."""
    acquire = settings.acquire
    return Lister(
        identities=acquire.identities,
        ytdlp_options=acquire.ytdlp_options,
        timeout_seconds=settings.fetch.timeout_seconds,
        leave=BudgetedPageClient(catalog, "youtube", wait=acquire.wait, say=_log.info),
    )


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
    lister: Lister,
    address: Address,
    asked: QueryResult,
    *,
    wanted: SearchFilter,
    limit: int,
    newest_first: bool,
) -> Iterator[tuple[QueryResult, VideoRef]]:
    """A query that fails does not keep the others from going on."""
    found = find(
        lister, address, wanted=wanted, limit=limit, newest_first=newest_first, left_out=asked.left_out
    )
    try:
        for ref in found:
            yield asked, ref
    except FetchError as error:
        asked.error = error


def _new_keys(catalog: Catalog, refs: list[VideoRef], *, dry_run: bool) -> set[str]:
    if dry_run:
        return {ref.key for ref in refs} - catalog.states([ref.key for ref in refs]).keys()
    return set(catalog.add(refs).new)


@contextlib.contextmanager
def _catalog(settings: Settings, *, dry_run: bool) -> Iterator[Catalog]:
    """One that is thrown away where there is none yet and none is to be made: it still keeps the pace."""
    file = settings.store.catalog_file
    with contextlib.ExitStack() as stack:
        url = settings.store.catalog_url
        if dry_run and file is not None and not file.exists():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-"))
            url = f"sqlite:///{folder}/catalog.sqlite"
        yield stack.enter_context(contextlib.closing(Catalog.open(url)))
