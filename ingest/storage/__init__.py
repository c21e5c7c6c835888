"""Where shards live: a folder, or a prefix in an object store, behind one small contract."""

from __future__ import annotations

from ingest.storage.location import OBJECT_SCHEMES, redact
from ingest.storage.opening import open_store
from ingest.storage.store import Entry, Store

__all__ = ["OBJECT_SCHEMES", "Entry", "Store", "open_store", "redact"]
