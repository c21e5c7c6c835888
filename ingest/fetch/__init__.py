"""The first stage: brings a video's bytes to this node and shows what they are."""

from __future__ import annotations

from mien.ingest.fetch.cache import MediaCache
from mien.ingest.fetch.stage import Fetch

__all__ = ["Fetch", "MediaCache"]
