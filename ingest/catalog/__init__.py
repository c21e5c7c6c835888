"""The catalog: requested videos, their outcomes, and committed shards. Nothing is lost or done twice.

catalog = Catalog.open("sqlite:////data/catalog.db")     # or postgresql://user@host/database
catalog.add(refs)
run = catalog.begin_run(fingerprint=…, config_json=…, host=…, lease_seconds=120)
for job in catalog.claim(run, limit=8): …
catalog.commit_shard(run, shard, segments)
catalog.end_run(run, "finished")
"""

from __future__ import annotations

from mien.ingest.catalog.catalog import Catalog
from mien.ingest.catalog.records import (
    AddResult,
    EgressStatus,
    MediaRecord,
    Outcome,
    PageGrant,
    Paused,
    SegmentFailure,
    SegmentRecord,
    ShardRecord,
    Usage,
    VideoFailure,
)
from mien.ingest.catalog.retained_media import MediaRoom
from mien.ingest.catalog.views import CatalogStatus, Event, SegmentHistory, VideoHistory

__all__ = [
    "AddResult",
    "Catalog",
    "CatalogStatus",
    "EgressStatus",
    "Event",
    "MediaRecord",
    "MediaRoom",
    "Outcome",
    "PageGrant",
    "Paused",
    "SegmentFailure",
    "SegmentHistory",
    "SegmentRecord",
    "ShardRecord",
    "Usage",
    "VideoFailure",
    "VideoHistory",
]
