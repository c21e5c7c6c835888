"""What `mien add` does: arguments into rows of the catalog."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from itertools import islice

from cluster.config import Settings
from ingest.catalog import AddResult, Catalog
from ingest.media import VideoRef
from ingest.sources import Tally, expand

BATCH = 5000


def add(settings: Settings, arguments: Iterable[str]) -> tuple[AddResult, Tally]:
    """Adds what the arguments stand for, in batches; what could not be listed is in the tally."""
    tally = Tally()
    result = AddResult()
    refs: Iterator[VideoRef] = (ref for argument in arguments for ref in expand(argument, tally=tally))
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        while batch := list(islice(refs, BATCH)):
            part = catalog.add(batch)
            result.new.extend(part.new)
            result.known.extend(part.known)
    return result, tally
