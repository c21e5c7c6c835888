"""Each segment counts once, in one shard."""

from __future__ import annotations

import pytest

from mien.ingest.catalog import Catalog, MediaRecord
from mien.ingest.errors import CatalogError, LeaseLostError, Policy
from tests.ingest.catalog.makers import (
    LEASE_SECONDS,
    Clock,
    begin,
    ref,
    segment,
    segment_failure,
    shard,
    video_failure,
)


def holding(catalog: Catalog, *names: str) -> str:
    """A run that holds new videos with these names."""
    catalog.add(ref(name) for name in names)
    run_id = begin(catalog)
    assert len(catalog.claim(run_id, limit=len(names))) == len(names)
    return run_id


def state(catalog: Catalog, name: str) -> str:
    history = catalog.explain(f"folder-{name}")
    assert history is not None
    return history.state


def test_video_ends_with_last_segment_or_split(catalog: Catalog) -> None:
    run_id = holding(catalog, "split-first", "split-last", "empty", "unfinished")
    catalog.record_split(run_id, "folder-split-first", 2)
    catalog.record_done(run_id, [segment("split-first", 0)])
    assert state(catalog, "split-first") == "running"
    catalog.commit_shard(run_id, shard("s1", run_id), [segment("split-first", 60, samples=2)])
    catalog.record_done(run_id, [segment("split-last", 0), segment("unfinished", 0)])
    catalog.record_split(run_id, "folder-split-last", 1)
    catalog.record_split(run_id, "folder-empty", 0)
    catalog.record_split(run_id, "folder-empty", 0)
    catalog.record_split(run_id, "folder-unfinished", 2)
    states = {name: state(catalog, name) for name in ("split-first", "split-last", "empty", "unfinished")}
    assert states == {"split-first": "done", "split-last": "done", "empty": "done", "unfinished": "running"}
    assert catalog.claim(run_id, limit=9) == []


def test_failed_segment_makes_video_partial(catalog: Catalog) -> None:
    run_id = holding(catalog, "a", "b")
    catalog.record_segment_failure(run_id, segment_failure("a", 0))
    catalog.record_split(run_id, "folder-a", 2)
    catalog.record_done(run_id, [segment("a", 60)])
    catalog.record_split(run_id, "folder-b", 1)
    catalog.record_segment_failure(run_id, segment_failure("b", 0))
    catalog.record_segment_failure(run_id, segment_failure("b", 0))
    assert (state(catalog, "a"), state(catalog, "b")) == ("partial", "partial")
    status = catalog.status()
    assert status.seconds_by_fate == {"failed": 120.0, "no_face": 60.0}
    assert status.segments == {"done": 1, "failed": 2}


def test_recording_twice_counts_once(catalog: Catalog) -> None:
    run_id = holding(catalog, "a")
    catalog.record_split(run_id, "folder-a", 2)
    catalog.record_done(run_id, [segment("a", 0), segment("a", 0)])
    catalog.record_done(run_id, [segment("a", 0), segment("a", 60)])
    catalog.record_done(run_id, [segment("a", 0), segment("a", 60)])
    catalog.record_segment_failure(run_id, segment_failure("a", 60))
    assert state(catalog, "a") == "done"
    assert catalog.status().seconds_by_fate == {"no_face": 120.0}


def test_shard_is_committed_once(catalog: Catalog) -> None:
    run_id = holding(catalog, "a", "b")
    records = [segment("a", 0, samples=1, fate="kept"), segment("b", 0, samples=1, fate="kept")]
    catalog.commit_shard(run_id, shard("s1", run_id), records)
    catalog.commit_shard(run_id, shard("s1", run_id), records)  # the first answer was lost
    assert catalog.shard_names() == {"s1"}
    assert catalog.shards_without_sidecar() == catalog.shards() == [shard("s1", run_id)]
    catalog.mark_sidecar("s1")
    assert catalog.shards_without_sidecar() == []
    assert catalog.shards()[0].sidecar
    with pytest.raises(CatalogError, match="s9"):
        catalog.mark_sidecar("s9")
    with pytest.raises(CatalogError, match="already committed"):
        catalog.commit_shard(run_id, shard("s1", run_id, sha256="1" * 64), [segment("a", 60)])
    assert catalog.status().seconds_by_fate == {"kept": 120.0}
    assert catalog.status().samples == 2


def test_segment_is_never_committed_twice(catalog: Catalog) -> None:
    run_id = holding(catalog, "a", "b")
    catalog.commit_shard(run_id, shard("s1", run_id), [segment("a", 0)])
    with pytest.raises(LeaseLostError) as caught:
        catalog.commit_shard(
            run_id, shard("s2", run_id), [segment("a", 0), segment("a", 60), segment("b", 0)]
        )
    assert caught.value.lost == {"folder-a-000000000"}
    assert catalog.shard_names() == {"s1"}
    catalog.commit_shard(run_id, shard("s2", run_id), [segment("a", 60), segment("b", 0)])
    assert catalog.status().segments["done"] == 3


def test_lost_commit_answer_survives_takeover(catalog: Catalog, clock: Clock) -> None:
    run_id = holding(catalog, "a")
    segments = [segment("a", 0, samples=2, fate="kept")]
    catalog.commit_shard(run_id, shard("s1", run_id), segments)
    clock.sleep(LEASE_SECONDS + 1)
    heir = begin(catalog)
    assert [job.done_starts_ms for job in catalog.claim(heir, limit=1)] == [{0}]
    catalog.commit_shard(
        run_id, shard("s1", run_id), segments
    )  # otherwise the tar would be deleted while its row stays
    assert (catalog.shard_names(), catalog.status().samples) == ({"s1"}, 2)
    with pytest.raises(LeaseLostError):
        catalog.commit_shard(run_id, shard("s2", run_id), [segment("a", 60)])


def test_lost_lease_names_only_lost_segments(catalog: Catalog) -> None:
    run_id = holding(catalog, "a", "b")
    catalog.record_video_failure(run_id, video_failure("b"))
    with pytest.raises(LeaseLostError) as caught:
        catalog.commit_shard(
            run_id, shard("s1", run_id), [segment("a", 0), segment("b", 0), segment("b", 60)]
        )
    assert caught.value.lost == {"folder-b-000000000", "folder-b-000060000"}
    assert catalog.shards() == []
    assert catalog.status().seconds_by_fate == {}


def test_expired_run_writes_nothing(catalog: Catalog, clock: Clock) -> None:
    zombie = holding(catalog, "a")
    clock.sleep(LEASE_SECONDS + 1)
    for taken_over in (False, True):
        if taken_over:
            heir = begin(catalog)
            assert [job.key for job in catalog.claim(heir, limit=1)] == ["folder-a"]
        writes = (
            lambda: catalog.commit_shard(zombie, shard("s1", zombie), [segment("a", 0)]),
            lambda: catalog.record_done(zombie, [segment("a", 0)]),
            lambda: catalog.record_segment_failure(zombie, segment_failure("a", 0)),
            lambda: catalog.record_video_failure(zombie, video_failure("a")),
            lambda: catalog.record_split(zombie, "folder-a", 1),
            lambda: catalog.record_media(
                zombie, "folder-a", MediaRecord(sha256="0", bytes=1, duration_seconds=1.0)
            ),
            lambda: catalog.claim(zombie, limit=1),
        )
        for write in writes:
            with pytest.raises(LeaseLostError):
                write()
    with pytest.raises(LeaseLostError) as caught:
        catalog.commit_shard(zombie, shard("s1", zombie), [segment("a", 0)])
    assert caught.value.lost == {"folder-a-000000000"}
    history = catalog.explain("folder-a")
    assert history is not None and (history.segments, history.media, history.run_id) == ([], None, heir)
    catalog.commit_shard(heir, shard("s2", heir), [segment("a", 0)])


def test_run_cannot_write_videos_of_another(catalog: Catalog) -> None:
    holding(catalog, "a")
    other = holding(catalog, "b")
    with pytest.raises(LeaseLostError) as caught:
        catalog.record_done(other, [segment("b", 0), segment("a", 0)])
    assert caught.value.lost == {"folder-a-000000000"}
    with pytest.raises(LeaseLostError):
        catalog.record_done(other, [segment("never-heard-of", 0)])
    assert catalog.status().segments["done"] == 0


def test_permanent_failure_counts_remaining_seconds(catalog: Catalog, clock: Clock) -> None:
    run_id = holding(catalog, "a", "b")
    for name in "ab":
        record = MediaRecord(sha256="0" * 64, bytes=5, duration_seconds=200.0, probe_json="{}")
        catalog.record_media(run_id, f"folder-{name}", record)
        catalog.record_media(run_id, f"folder-{name}", record)
        catalog.record_done(run_id, [segment(name, 0)])
    catalog.record_video_failure(run_id, video_failure("a"))
    catalog.record_video_failure(run_id, video_failure("b", policy=Policy.RETRY, again=clock() + 5))
    status = catalog.status()
    assert status.media_seconds == 400.0
    assert status.seconds_by_fate == {"failed": 140.0, "no_face": 120.0}
    assert (state(catalog, "a"), state(catalog, "b")) == ("failed", "waiting")
