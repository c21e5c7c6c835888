"""Each video is added once and held by at most one run."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from mien.ingest.catalog import Catalog
from mien.ingest.errors import CatalogError, LeaseLostError, Policy
from mien.ingest.media import VideoRef
from tests.ingest.catalog.makers import (
    LEASE_SECONDS,
    Clock,
    begin,
    ref,
    segment,
    segment_failure,
    video_failure,
)


def claimed(catalog: Catalog, run_id: str, limit: int = 10) -> list[str]:
    return [job.video.id for job in catalog.claim(run_id, limit=limit)]


def test_claimed_video_equals_added_video(catalog: Catalog) -> None:
    video = VideoRef(
        source="http",
        id="dQw4-_",
        uri="https://example.org/watch?v=1",
        title="Ein „Titel“ 🎬",
        channel="c",
        licence="CC-BY",
        query="q",
        duration_seconds=12.5,
        labels={"emotion": "joy"},
    )
    catalog.add([video])
    [job] = catalog.claim(begin(catalog), limit=1)
    assert job.video == video
    assert job.done_starts_ms == frozenset()
    assert job.attempts == 0


def test_add_separates_new_from_known_and_stores_queries(catalog: Catalog) -> None:
    first = catalog.add([ref("a", query="one"), ref("b", query="one"), ref("a", query="two")])
    assert (first.new, first.known) == (["folder-a", "folder-b"], [])
    second = catalog.add([ref("b", query="three"), ref("c"), ref("b", query="three"), ref("b", query="one")])
    assert (second.new, second.known) == (["folder-c"], ["folder-b"])
    assert catalog.add([]).new == []
    queries = {name: history.queries for name in "abc" if (history := catalog.explain(f"folder-{name}"))}
    assert queries == {"a": ["one", "two"], "b": ["one", "three"], "c": []}


def test_large_source_is_claimed_in_order(catalog: Catalog) -> None:
    names = [f"v{(number * 7919) % 1200:05d}" for number in range(1200)]
    assert len(catalog.add(ref(name) for name in names).new) == 1200
    run_id = begin(catalog)
    assert claimed(catalog, run_id, limit=700) + claimed(catalog, run_id, limit=700) == names
    assert claimed(catalog, run_id) == []


@pytest.mark.parametrize("uri", [os.fsdecode(b"/films/caf\xe9.mp4"), '"quoted"', "/films/ü.mp4"])
def test_paths_of_any_bytes_are_preserved(catalog: Catalog, uri: str) -> None:
    catalog.add([ref("a", uri=uri)])
    [job] = catalog.claim(begin(catalog), limit=1)
    assert job.video.uri == uri
    assert catalog.explain(uri) is not None


def test_nul_and_surrogates_are_replaced(catalog: Catalog) -> None:
    catalog.add([VideoRef(source="folder", id="a", uri="/a", title="x\0y\udce9")])
    [job] = catalog.claim(begin(catalog), limit=1)
    assert job.video.title == "x\ufffdy?"


def test_two_runs_never_hold_the_same_video(catalog: Catalog) -> None:
    catalog.add(ref(name) for name in "abc")
    one, two = begin(catalog), begin(catalog)
    assert claimed(catalog, one, limit=2) == ["a", "b"]
    assert claimed(catalog, two) == ["c"]
    assert catalog.live_runs() == sorted([one, two])


def test_ending_a_run_releases_its_videos(catalog: Catalog) -> None:
    catalog.add([ref("a")])
    one = begin(catalog)
    catalog.claim(one, limit=1)
    catalog.end_run(one, "interrupted")
    catalog.end_run(one, "again, which changes nothing")
    assert catalog.live_runs() == []
    assert claimed(catalog, begin(catalog)) == ["a"]
    with pytest.raises(LeaseLostError):
        catalog.claim(one, limit=1)


def test_only_dead_runs_lose_videos(catalog: Catalog, clock: Clock) -> None:
    catalog.add(ref(name) for name in "ab")
    dead, alive = begin(catalog), begin(catalog)
    catalog.claim(dead, limit=1)
    catalog.claim(alive, limit=1)
    clock.sleep(LEASE_SECONDS * 0.6)
    catalog.heartbeat(alive)
    clock.sleep(LEASE_SECONDS * 0.6)
    assert catalog.live_runs() == [alive]
    assert claimed(catalog, begin(catalog)) == ["a"]
    with pytest.raises(LeaseLostError):
        catalog.heartbeat(dead)


def test_late_heartbeat_renews_unless_taken_over(catalog: Catalog, clock: Clock) -> None:
    """A laptop that was suspended continues its run."""
    catalog.add([ref("a")])
    run_id = begin(catalog)
    catalog.claim(run_id, limit=1)
    clock.sleep(LEASE_SECONDS * 100)
    catalog.heartbeat(run_id)
    catalog.record_split(run_id, "folder-a", 0)


def test_started_videos_come_first(catalog: Catalog) -> None:
    catalog.add(ref(name) for name in "abc")
    one = begin(catalog)
    catalog.claim(one, limit=2)
    catalog.record_done(one, [segment("b", 0), segment("b", 60)])
    catalog.record_segment_failure(one, segment_failure("b", 120))
    catalog.end_run(one, "killed")
    jobs = catalog.claim(begin(catalog), limit=3)
    assert [job.video.id for job in jobs] == ["b", "a", "c"]
    assert [job.done_starts_ms for job in jobs] == [{0, 60_000, 120_000}, set(), set()]


def test_other_configurations_videos_are_skipped(catalog: Catalog) -> None:
    catalog.add(ref(name) for name in "abc")
    old = begin(catalog)
    catalog.claim(old, limit=2)
    catalog.record_done(old, [segment("b", 0)])
    assert catalog.other_fingerprint_count("f2") == 2
    catalog.end_run(old, "killed")
    # "a" has no ended segment, so it belongs to no configuration.
    assert (catalog.other_fingerprint_count("f2"), catalog.other_fingerprint_count("f1")) == (1, 0)
    assert claimed(catalog, begin(catalog, fingerprint="f2")) == ["a", "c"]


def test_postponed_video_waits(catalog: Catalog, clock: Clock) -> None:
    catalog.add(ref(name) for name in "abcd")
    run_id = begin(catalog)
    catalog.claim(run_id, limit=3)
    for name, seconds in (("a", 20), ("b", 10)):
        failure = video_failure(name, policy=Policy.RETRY, again=clock() + seconds)
        catalog.record_video_failure(run_id, failure)
    stop = video_failure("c", policy=Policy.STOP, again=clock() + 30)
    catalog.record_video_failure(run_id, stop)
    assert catalog.next_try_at() == clock() + 10
    assert catalog.next_try_at(fingerprint="f1") == clock() + 10
    assert claimed(catalog, run_id, limit=1) == ["d"]
    assert claimed(catalog, run_id) == []
    clock.sleep(10)
    assert catalog.next_try_at() == clock() + 10
    assert catalog.next_try_at(fingerprint="f1") == clock()
    clock.sleep(20)
    jobs = catalog.claim(run_id, limit=9)
    assert [(job.video.id, job.attempts) for job in jobs] == [("b", 1), ("a", 1), ("c", 0)]
    assert catalog.next_try_at() is None


def test_a_run_needs_a_fingerprint(catalog: Catalog) -> None:
    with pytest.raises(CatalogError, match="fingerprint"):
        begin(catalog, fingerprint="")


def test_run_ids_sort_by_time(catalog: Catalog, clock: Clock) -> None:
    ids = []
    for _ in range(5):
        ids.append(begin(catalog))
        clock.sleep(0.002)
    assert ids == sorted(ids)
    assert all(Path(name).name == name and name.isalnum() and name.islower() for name in ids)


def test_end_dead_runs_ends_only_dead_runs(catalog: Catalog, clock: Clock) -> None:
    catalog.add(ref(name) for name in "abcd")
    expired = begin(catalog)
    clock.sleep(LEASE_SECONDS + 1)
    killed, alive, idle = begin(catalog), begin(catalog), begin(catalog)
    for run_id in (killed, alive):
        catalog.claim(run_id, limit=1)
    assert set(catalog.holders()) == {killed, alive}
    assert catalog.end_dead_runs() == {killed, alive, idle}
    assert catalog.end_dead_runs({killed}) == {alive, idle}
    assert catalog.holders() == {alive: clock.now + LEASE_SECONDS}
    for run_id in (expired, killed):
        with pytest.raises(LeaseLostError):
            catalog.heartbeat(run_id)
    assert claimed(catalog, idle) == ["a", "c", "d"]
