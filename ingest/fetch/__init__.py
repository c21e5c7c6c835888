"""The first stage: copies the media of a video to this node and probes them."""

from __future__ import annotations

from mien.ingest.fetch.cache import MediaCache
from mien.ingest.fetch.stage import Fetch

__all__ = ["Fetch", "MediaCache"]
