"""Progress of a run: in seconds of media, or in videos if it only fetches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from mien.cluster.engine import Snapshot
from mien.cluster.engine.interface import PoolSnapshot
from mien.cluster.report.progress import fetch_progress, media_progress
from mien.ingest.catalog import Catalog, MediaRecord
from tests.ingest.catalog.makers import Clock, begin, ref, segment, video_failure

IDLE = PoolSnapshot(
    name="fetch",
    queued=0,
    queued_bytes=0,
    peak_queued=0,
    peak_queued_bytes=0,
    workers=4,
    starting=0,
    busy=0,
    held=0,
    done=0,
    failed=0,
    retried=0,
    done_seconds=0.0,
    busy_seconds=0.0,
    rss_bytes=0,
)


def snapshot(**fetch: int) -> Snapshot:
    pool = replace(IDLE, **fetch)  # type: ignore[arg-type]
    return Snapshot(uptime_seconds=0.0, pools=(pool,), retained=0, retained_bytes=0)


def had(catalog: Catalog, run_id: str, key: str, sha256: str = "") -> None:
    info = MediaRecord(sha256=sha256 or key, bytes=100, duration_seconds=60.0)
    catalog.record_media(run_id, key, info, unique=True)


@pytest.fixture
def catalog(tmp_path: Path) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=Clock()) as opened:
        opened.add([ref(name) for name in "abcdefghij"])
        yield opened


def test_fetch_progress_counts_fetched_videos(catalog: Catalog) -> None:
    run_id, before = begin(catalog), catalog.status()
    begun = fetch_progress(before, snapshot(queued=8), before=before, elapsed=1.0)
    assert (begun.completed, begun.total) == (0, 10)
    assert begun.summary == "0/10 videos · fetch 0+8"
    catalog.claim(run_id, limit=8)
    for name in "abc":
        had(catalog, run_id, f"folder-{name}")
    had(catalog, run_id, "folder-d", sha256="folder-a")
    catalog.record_video_failure(run_id, video_failure("e"))
    status = catalog.status()
    assert (status.videos["duplicate"], status.videos["failed"]) == (1, 1)
    pace = fetch_progress(status, snapshot(done=4, failed=1, busy=3), before=before, elapsed=2.5)
    assert (pace.completed, pace.total) == (5, 10), "a duplicate is one, and not two"
    assert pace.summary == "5/10 videos · 2.0/s · ETA 0:02.5 · 1 failed · fetch 3+0"


def test_slow_pace_is_shown_per_minute(catalog: Catalog) -> None:
    earlier = begin(catalog)
    catalog.claim(earlier, limit=4)
    for name in "ab":
        catalog.record_video_failure(earlier, video_failure(name))
    had(catalog, earlier, "folder-c")
    had(catalog, earlier, "folder-d", sha256="folder-c")
    catalog.end_run(earlier, "finished")
    run_id, before = begin(catalog), catalog.status()
    catalog.claim(run_id, limit=2)
    pace = fetch_progress(catalog.status(), snapshot(done=1), before=before, elapsed=30.0)
    assert pace.summary == "4/10 videos · 2.0/min · ETA 3:00.0 · 2 failed · fetch 0+0"


def test_full_run_progress_is_in_media_seconds(catalog: Catalog) -> None:
    run_id, before = begin(catalog), catalog.status()
    for job in catalog.claim(run_id, limit=5):
        had(catalog, run_id, job.key)
    catalog.record_split(run_id, "folder-a", 1)
    catalog.record_done(run_id, [segment("a", 0)])
    pace = media_progress(catalog.status(), snapshot(busy=1), before=before, seconds=60.0, elapsed=30.0)
    assert (pace.completed, pace.total) == (60.0, 600.0), "what is not probed is as long as what is"
    assert pace.summary == "1/10 videos · 1:00.0 of media · 2.0× real time · ETA 4:30.0 · fetch 1+0"
