"""What is told of a video has an end."""

from __future__ import annotations

from mien.ingest.catalog import Catalog
from mien.ingest.catalog.events import MAX_EVENTS
from mien.ingest.errors import Policy
from tests.ingest.catalog.makers import Clock, begin, ref, video_failure


def test_of_a_video_that_is_tried_for_ever_the_latest_lines_are_kept(catalog: Catalog, clock: Clock) -> None:
    catalog.add([ref("a"), ref("b")])
    run_id = begin(catalog)
    catalog.claim(run_id, limit=2)
    times = MAX_EVENTS // 2 + 20  # it fails, and is claimed again: two lines each time
    for _ in range(times):
        catalog.record_video_failure(run_id, video_failure("a", policy=Policy.STOP, again=clock()))
        assert [job.key for job in catalog.claim(run_id, limit=1)] == ["folder-a"]
    story, other = catalog.explain("folder-a"), catalog.explain("folder-b")
    assert story is not None and other is not None
    assert len(story.events) == MAX_EVENTS
    assert story.events[-1].what == "claimed"
    assert [event.what for event in other.events] == ["claimed"]
