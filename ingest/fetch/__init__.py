"""The first stage: brings a video's bytes to this node and shows what they are."""

from __future__ import annotations

from ingest.fetch.cache import MediaCache
from ingest.fetch.stage import Fetch

__all__ = ["Fetch", "MediaCache"]
