"""Builders of records that the tests share."""

from __future__ import annotations

from mien.ingest.catalog import Catalog, SegmentFailure, SegmentRecord, ShardRecord, VideoFailure
from mien.ingest.errors import Policy
from mien.ingest.media import VideoRef

LEASE_SECONDS = 60.0


class Clock:
    """A clock that the test advances."""

    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def ref(name: str, *, query: str = "", uri: str = "") -> VideoRef:
    return VideoRef(source="folder", id=name, uri=uri or f"/films/{name}.mp4", query=query)


def begin(catalog: Catalog, *, fingerprint: str = "f1") -> str:
    return catalog.begin_run(
        fingerprint=fingerprint, config_json="{}", host="here", lease_seconds=LEASE_SECONDS
    )


def segment(name: str, start: int, *, samples: int = 0, fate: str = "no_face") -> SegmentRecord:
    """The 60 s of video `name` that start at `start` seconds."""
    return SegmentRecord(
        video_key=f"folder-{name}",
        start_ms=start * 1000,
        end_ms=(start + 60) * 1000,
        seconds_by_fate={fate: 60.0},
        sample_count=samples,
    )


def shard(name: str, run_id: str, *, sha256: str = "0" * 64) -> ShardRecord:
    return ShardRecord(
        name=name, uri=f"/shards/{name}.tar", bytes=1000, sha256=sha256, sample_count=2, run_id=run_id
    )


def segment_failure(name: str, start: int, error_class: str = "OutOfMemoryError") -> SegmentFailure:
    return SegmentFailure(
        video_key=f"folder-{name}",
        start_ms=start * 1000,
        end_ms=(start + 60) * 1000,
        stage="faces",
        error_class=error_class,
        text="9 GB of 2 GB",
    )


def video_failure(
    name: str,
    *,
    error_class: str = "GoneError",
    policy: Policy = Policy.PERMANENT,
    again: float | None = None,
) -> VideoFailure:
    return VideoFailure(
        key=f"folder-{name}",
        stage="fetch",
        error_class=error_class,
        text=f"{error_class} said\nthe server",
        policy=policy,
        next_try_at=again,
    )
