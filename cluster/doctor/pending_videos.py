"""What waits to be fetched, as far as the catalog opens: that it does not is said by its own check."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from mien.cluster.config import Settings, fingerprint
from mien.ingest.catalog import Catalog
from mien.ingest.errors import MienError

T = TypeVar("T")


def videos_wait(settings: Settings) -> bool:
    """Whether any video of a platform waits, due or put off."""
    printed, identities = fingerprint(settings), settings.acquire.identities
    return _asked(
        settings,
        lambda catalog: catalog.rate_limited_at(fingerprint=printed, identities=identities) != (None, None),
        otherwise=False,
    )


def plain_hosts(settings: Settings) -> set[tuple[str, str]]:
    """Scheme and host of each plain address that waits."""
    return _asked(settings, lambda catalog: catalog.waiting_hosts("http"), otherwise=set())


def _asked(settings: Settings, ask: Callable[[Catalog], T], *, otherwise: T) -> T:
    store = settings.store
    if store.catalog_file is not None and not store.catalog_file.exists():
        return otherwise
    try:
        with Catalog.open(store.catalog_url) as catalog:
            return ask(catalog)
    except MienError:
        return otherwise
