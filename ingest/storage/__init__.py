"""Where shards live: a folder, or a prefix in an object store, behind one small contract."""

from __future__ import annotations

from mien.ingest.storage.location import OBJECT_SCHEMES, redact
from mien.ingest.storage.opening import open_store
from mien.ingest.storage.store import Entry, Store

__all__ = ["OBJECT_SCHEMES", "Entry", "Store", "open_store", "redact"]
