"""The event log of a video is bounded."""

from __future__ import annotations

from mien.ingest.catalog import Catalog
from mien.ingest.catalog.events import MAX_EVENTS
from mien.ingest.errors import Policy
from tests.ingest.catalog.makers import Clock, begin, ref, video_failure


def test_only_latest_events_are_stored(catalog: Catalog, clock: Clock) -> None:
    catalog.add([ref("a"), ref("b")])
    run_id = begin(catalog)
    catalog.claim(run_id, limit=2)
    times = MAX_EVENTS // 2 + 20  # each failure and new claim add two events
    for _ in range(times):
        catalog.record_video_failure(run_id, video_failure("a", policy=Policy.STOP, again=clock()))
        assert [job.key for job in catalog.claim(run_id, limit=1)] == ["folder-a"]
    history, other = catalog.explain("folder-a"), catalog.explain("folder-b")
    assert history is not None and other is not None
    assert len(history.events) == MAX_EVENTS
    assert history.events[-1].what == "claimed"
    assert [event.what for event in other.events] == ["claimed"]
