"""Status, history and retries."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.ingest.catalog import Catalog, MediaRecord
from mien.ingest.errors import Policy, UsageError
from tests.ingest.catalog.makers import (
    Clock,
    begin,
    ref,
    segment,
    segment_failure,
    shard,
    video_failure,
)


@pytest.fixture
def history(catalog: Catalog, clock: Clock) -> str:
    """A run with every outcome: a is done, b partial, c failed, d postponed, e running, f waiting."""
    catalog.add(ref(name) for name in "abcdef")
    run_id = begin(catalog)
    catalog.claim(run_id, limit=5)
    media = MediaRecord(sha256="ab" * 32, bytes=7, duration_seconds=120.0, probe_json='{"container": "mp4"}')
    for name in "abc":
        catalog.record_media(run_id, f"folder-{name}", media)
    catalog.record_split(run_id, "folder-a", 1)
    catalog.record_split(run_id, "folder-b", 3)
    records = [segment("a", 0, samples=2, fate="kept"), segment("b", 0, samples=1, fate="kept")]
    catalog.commit_shard(run_id, shard("s1", run_id), records)
    catalog.record_segment_failure(run_id, segment_failure("b", 60))
    catalog.record_segment_failure(run_id, segment_failure("b", 120, "DeadlineExceededError"))
    catalog.record_video_failure(run_id, video_failure("c"))
    put_off = video_failure("d", error_class="FetchError", policy=Policy.RETRY, again=clock() + 99)
    catalog.record_video_failure(run_id, put_off)
    return run_id


def test_status_counts_everything(catalog: Catalog, clock: Clock, history: str) -> None:
    status = catalog.status()
    assert status.videos == {"waiting": 2, "running": 1, "done": 1, "partial": 1, "failed": 1, "duplicate": 0}
    assert status.segments == {"done": 2, "failed": 2}
    assert status.video_errors == {"FetchError": 1, "GoneError": 1}
    assert status.segment_errors == {"DeadlineExceededError": 1, "OutOfMemoryError": 1}
    assert status.seconds_by_fate == {"failed": 240.0, "kept": 120.0}
    assert status.media_seconds == 360.0
    assert (status.shards, status.shards_without_sidecar, status.samples, status.bytes) == (1, 1, 2, 1000)
    assert status.live_runs == [history]
    assert status.next_try_at == clock() + 99
    assert status.videos_by_fingerprint == {"f1": 3}
    assert sum(catalog.error_classes().values()) == 4


def test_an_empty_catalog_has_a_status(catalog: Catalog) -> None:
    status = catalog.status()
    assert set(status.videos.values()) == {0}
    assert (status.shards, status.samples, status.bytes, status.seconds_by_fate) == (0, 0, 0, {})
    assert catalog.error_classes() == {}
    assert catalog.explain("") is None


def test_explain_returns_the_full_history(catalog: Catalog, history: str) -> None:
    partial = catalog.explain("folder-b")
    assert partial is not None
    assert (partial.state, partial.segment_count, partial.run_id) == ("partial", 3, None)
    assert partial.media is not None and partial.media.probe_json == '{"container": "mp4"}'
    assert [(part.state, part.shard, part.error_class) for part in partial.segments] == [
        ("done", "s1", None),
        ("failed", None, "OutOfMemoryError"),
        ("failed", None, "DeadlineExceededError"),
    ]
    assert partial.segments[1].error_text == "9 GB of 2 GB"
    whats = ["claimed", "committed", "segment failed", "segment failed", "partial"]
    assert [event.what for event in partial.events] == whats
    assert {event.run_id for event in partial.events} == {history}
    failed = catalog.explain("folder-c")
    assert failed is not None
    assert (failed.state, failed.stage, failed.attempts) == ("failed", "fetch", 1)
    assert failed.error_text == "GoneError said\nthe server"
    assert failed.events[-1].text == "fetch: GoneError: GoneError said\nthe server"


@pytest.mark.parametrize(
    "needle",
    [
        "folder-one1",
        "one1",
        "/films/one1.mp4",
        "folder-on",
        "on",
        "folder-one1-000060000",
        "folder-one1-000060000-02",
    ],
)
def test_explain_accepts_key_id_path_or_url(catalog: Catalog, needle: str) -> None:
    catalog.add([ref("one1"), ref("two1"), ref("two2")])
    found = catalog.explain(needle)
    assert found is not None
    assert found.video.id == "one1"


def test_explain_finds_a_file_by_a_relative_path(
    catalog: Catalog, tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path_factory.mktemp("films")
    catalog.add([ref("a", uri=str(folder / "a.mp4"))])
    monkeypatch.chdir(folder)
    assert catalog.explain("a.mp4") is not None
    assert catalog.explain("./a.mp4") is not None
    assert catalog.explain("b.mp4") is None


def test_explain_prefers_link_over_target(catalog: Catalog, tmp_path: Path) -> None:
    link, target, other, loop = (tmp_path / name for name in ("link", "target", "other", "loop"))
    for path, leads in ((link, target), (other, target), (loop, loop)):
        path.symlink_to(leads)
    catalog.add([ref("link", uri=str(link)), ref("target", uri=str(target))])
    for path, name in ((link, "link"), (target, "target"), (other, "target")):
        found = catalog.explain(str(path))
        assert found is not None
        assert found.video.id == name
    assert catalog.explain(str(loop)) is None


def test_explain_refuses_ambiguous_input(catalog: Catalog) -> None:
    catalog.add([ref("two1"), ref("two2")])
    with pytest.raises(UsageError, match="folder-two1, folder-two2"):
        catalog.explain("folder-two")
    assert catalog.explain("folder-three") is None
    assert catalog.explain("\0\udce9") is None


def test_retry_resets_all_failures(catalog: Catalog, history: str) -> None:
    catalog.end_run(history, "finished")
    assert catalog.retry() == 3
    assert catalog.error_classes() == {}
    assert catalog.next_try_at() is None
    status = catalog.status()
    assert {state: count for state, count in status.videos.items() if count} == {"waiting": 5, "done": 1}
    assert status.seconds_by_fate == {"kept": 120.0}
    jobs = {job.video.id: job for job in catalog.claim(begin(catalog), limit=9)}
    assert set(jobs) == set("bcdef")
    assert jobs["b"].done_starts_ms == {0}
    assert (jobs["c"].attempts, jobs["d"].attempts) == (0, 0)
    retried = catalog.explain("folder-b")
    assert retried is not None
    assert "retried" in [event.what for event in retried.events]
    assert catalog.retry() == 0


def test_retry_of_one_class_keeps_the_others(catalog: Catalog, history: str) -> None:
    catalog.end_run(history, "finished")
    assert catalog.retry(error_class="OutOfMemoryError") == 1
    assert catalog.error_classes() == {"DeadlineExceededError": 1, "FetchError": 1, "GoneError": 1}
    [job, *_] = catalog.claim(begin(catalog), limit=9)
    assert (job.video.id, job.done_starts_ms) == ("b", frozenset({0, 120_000}))
    assert catalog.retry(error_class="NoSuchError") == 0
    assert catalog.retry(error_class="GoneError", key="folder-d") == 0
    assert catalog.retry(key="folder-c") == 1
    assert catalog.error_classes() == {"DeadlineExceededError": 1, "FetchError": 1}


def test_a_retried_segment_can_be_done(catalog: Catalog, history: str) -> None:
    assert catalog.retry(key="folder-b") == 1
    run_id = begin(catalog)
    catalog.claim(run_id, limit=1)
    catalog.record_split(run_id, "folder-b", 3)
    catalog.commit_shard(run_id, shard("s2", run_id), [segment("b", 60, fate="kept")])
    catalog.record_done(run_id, [segment("b", 120)])
    done = catalog.explain("folder-b")
    assert done is not None
    assert (done.state, [part.shard for part in done.segments]) == ("done", ["s1", "s2", None])
    assert catalog.status().seconds_by_fate == {"failed": 120.0, "kept": 180.0, "no_face": 60.0}


def test_retry_skips_running_videos(catalog: Catalog) -> None:
    catalog.add([ref("a")])
    run_id = begin(catalog)
    catalog.claim(run_id, limit=1)
    catalog.record_segment_failure(run_id, segment_failure("a", 0))
    assert catalog.retry() == 0
    catalog.record_split(run_id, "folder-a", 1)
    assert catalog.retry() == 1
    # It has no ended segment, so another configuration can claim it.
    assert [job.done_starts_ms for job in catalog.claim(begin(catalog, fingerprint="f2"), limit=1)] == [set()]
