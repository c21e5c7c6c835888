"""What is waiting to be fetched. If the catalog cannot be opened, nothing: another check reports that."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mien.cluster.config import Settings, fingerprint
from mien.ingest.catalog import Catalog
from mien.ingest.errors import MienError
from mien.ingest.platforms import PLATFORMS, Platform

T = TypeVar("T")


def has_waiting_videos(settings: Settings) -> bool:
    """Whether any video of a platform is waiting, due now or later."""
    digest, identities = fingerprint(settings), settings.acquire.identities
    return _query(
        settings,
        lambda catalog: catalog.rate_limited_at(fingerprint=digest, identities=identities) != (None, None),
        default=False,
    )


def waiting_platforms(settings: Settings) -> list[Platform]:
    """The platforms of the waiting videos."""
    return _query(
        settings,
        lambda catalog: [platform for name, platform in PLATFORMS.items() if catalog.has_waiting(name)],
        default=[],
    )


def waiting_hosts(settings: Settings) -> set[tuple[str, str]]:
    """The scheme and host of each plain URL that is waiting."""
    return _query(settings, lambda catalog: catalog.waiting_hosts("http"), default=set())


def _query(settings: Settings, query: Callable[[Catalog], T], *, default: T) -> T:
    store = settings.store
    if store.catalog_file is not None and not store.catalog_file.exists():
        return default
    try:
        with Catalog.open(store.catalog_url) as catalog:
            return query(catalog)
    except MienError:
        return default
