"""`mien search`: adds the videos that queries find to the catalog, one query after the other in turn."""

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
from mien.ingest.catalog import Catalog
from mien.ingest.errors import FetchError, MienError, UsageError
from mien.ingest.media import SearchFilter, VideoRef
from mien.ingest.platforms import PLATFORMS, Platform, platform_of
from mien.ingest.platforms.page_client import BudgetedPageClient
from mien.ingest.platforms.platform import Address, Lister

T = TypeVar("T")

_log = get_logger("mien.run")

BATCH = 50
"""Videos per transaction. A killed search loses at most this many; repeating it finds them again."""


@dataclass(slots=True)
class QueryResult:
    """One query and its outcome."""

    query: str
    new: int = 0
    known: int = 0
    """Already found by another search or by another of these queries."""
    left_out: Counter[str] = field(default_factory=Counter)
    """Results that the filter rejected, by reason."""
    error: MienError | None = None
    """Why the query stopped early, if it did. Videos found before are added."""


@dataclass(slots=True)
class SearchResult:
    queries: list[QueryResult]
    new: list[VideoRef] = field(default_factory=list)
    known: list[VideoRef] = field(default_factory=list)
    """Each video once, in the order found."""
    requests: Counter[str] = field(default_factory=Counter)
    """The number of requests to platforms, by egress identity."""


def search(
    settings: Settings,
    queries: Iterable[str],
    *,
    filters: SearchFilter,
    limit: int,
    newest_first: bool = False,
    dry_run: bool = False,
    on_found: Callable[[int], None] = lambda found: None,
) -> SearchResult:
    """Finds at most `limit` videos per query and adds them. With `dry_run`, only reports which are new.

    Queries alternate result by result. A run processes the oldest videos first, so it is fair to all queries.
    `on_found` is called with the number of videos found so far.

    Raises:
        UsageError: a query is an address without videos. No request was made.
        CatalogError: the catalog cannot be opened.
    """
    found = map(address_of, queries)
    addresses = {address.url: (platform, address) for platform, address in found}
    result = SearchResult([QueryResult(address.name) for _, address in addresses.values()])
    with _catalog(settings, dry_run=dry_run) as catalog:
        listers = {
            platform.name: lister_of(settings, catalog, platform) for platform, _ in addresses.values()
        }
        streams = [
            _found(
                platform.find(
                    listers[platform.name],
                    address,
                    search_filter=filters,
                    limit=limit,
                    newest_first=newest_first,
                    left_out=query.left_out,
                ),
                query,
            )
            for (platform, address), query in zip(addresses.values(), result.queries, strict=True)
        ]
        seen: set[str] = set()
        results = round_robin(streams)
        while batch := list(islice(results, BATCH)):
            new = _new_keys(catalog, [ref for _, ref in batch], dry_run=dry_run)
            for query, ref in batch:
                first = ref.key not in seen
                seen.add(ref.key)
                if first:
                    (result.new if ref.key in new else result.known).append(ref)
                if first and ref.key in new:
                    query.new += 1
                else:
                    query.known += 1
            on_found(len(seen))
        for lister in listers.values():
            result.requests += lister.requests
    return result


def address_of(query: str) -> tuple[Platform, Address]:
    """`query` as an address of a platform; other words are a search on the first platform that can search.

    Raises:
        UsageError: an address that stands for no videos, or no words.
    """
    if platform := platform_of(query):
        return platform, platform.parse(query)
    for platform in PLATFORMS.values():
        if address := platform.search(query):
            return platform, address
    raise UsageError("no platform can search; give an address")


def lister_of(settings: Settings, catalog: Catalog, platform: Platform) -> Lister:
    """Lists as the configured identities, within their budgets."""
    acquire = settings.acquire
    return platform.lister(
        identities=acquire.identities,
        ytdlp_options=acquire.ytdlp_options,
        timeout_seconds=settings.fetch.timeout_seconds,
        page_budget=BudgetedPageClient(catalog, platform.name, wait=acquire.wait, say=_log.info),
        allow_private_addresses=settings.fetch.allow_private_addresses,
    )


def round_robin(streams: Iterable[Iterator[T]]) -> Iterator[T]:
    """Yields one item of each stream in turn, until all have ended."""
    waiting = list(streams)
    while waiting:
        remaining = []
        for stream in waiting:
            with contextlib.suppress(StopIteration):
                yield next(stream)
                remaining.append(stream)
        waiting = remaining


def _found(found: Iterator[VideoRef], query: QueryResult) -> Iterator[tuple[QueryResult, VideoRef]]:
    """Yields the videos of one query. An error ends this query, not the others."""
    try:
        for ref in found:
            yield query, ref
    except FetchError as error:
        query.error = error


def _new_keys(catalog: Catalog, refs: list[VideoRef], *, dry_run: bool) -> set[str]:
    if dry_run:
        return {ref.key for ref in refs} - catalog.states([ref.key for ref in refs]).keys()
    return set(catalog.add(refs).new)


@contextlib.contextmanager
def _catalog(settings: Settings, *, dry_run: bool) -> Iterator[Catalog]:
    """Opens the catalog. A dry run without a catalog uses a temporary one, which enforces the budgets."""
    file = settings.store.catalog_file
    with contextlib.ExitStack() as stack:
        url = settings.store.catalog_url
        if dry_run and file is not None and not file.exists():
            folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="mien-"))
            url = f"sqlite:///{folder}/catalog.sqlite"
        yield stack.enter_context(contextlib.closing(Catalog.open(url)))
