"""Identical files: one video owns the bytes, through kills and retries, and between runs."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from mien.ingest.catalog import Catalog, MediaRecord
from mien.ingest.errors import LeaseLostError, Policy
from tests.ingest.catalog.makers import LEASE_SECONDS, Clock, begin, ref, segment, video_failure

SAME = "a" * 64


def media(sha256: str = SAME) -> MediaRecord:
    return MediaRecord(sha256=sha256, bytes=10, duration_seconds=60.0)


def started_run(catalog: Catalog, names: str, *, fingerprint: str = "f1") -> str:
    catalog.add(ref(name) for name in names)
    run_id = begin(catalog, fingerprint=fingerprint)
    catalog.claim(run_id, limit=len(names))
    return run_id


def owner(catalog: Catalog, run_id: str, name: str, *, sha256: str = SAME, unique: bool = True) -> str | None:
    return catalog.record_media(run_id, f"folder-{name}", media(sha256), unique=unique)


def test_second_video_ends_as_duplicate(catalog: Catalog) -> None:
    run_id = started_run(catalog, "abc")
    assert owner(catalog, run_id, "a") is None
    assert owner(catalog, run_id, "b") == "folder-a"
    assert owner(catalog, run_id, "c", sha256="b" * 64) is None
    assert owner(catalog, run_id, "a") is None  # recorded again: a call may be repeated
    history = catalog.explain("folder-b")
    assert history is not None
    assert (history.state, history.error_class) == ("duplicate", "DuplicateMediaError")
    assert "same bytes as folder-a" in str(history.error_text)
    with pytest.raises(LeaseLostError):
        owner(catalog, run_id, "b")


def test_duplicate_is_no_failure_and_has_no_seconds(catalog: Catalog) -> None:
    run_id = started_run(catalog, "abc")
    owner(catalog, run_id, "a")
    owner(catalog, run_id, "b")
    catalog.record_video_failure(run_id, video_failure("c"))
    status = catalog.status()
    assert (status.videos["duplicate"], status.videos["failed"]) == (1, 1)
    assert status.video_errors == {"GoneError": 1}
    assert status.media_seconds == 60.0
    assert status.seconds_by_fate == {}
    assert catalog.error_classes() == {"DuplicateMediaError": 1, "GoneError": 1}


def test_duplicate_counts_as_fetched(catalog: Catalog) -> None:
    run_id = started_run(catalog, "ab")
    owner(catalog, run_id, "a")
    owner(catalog, run_id, "b")
    for _ in range(2):
        status = catalog.status()
        assert (status.fetched, status.fetched_bytes, status.media_seconds) == (2, 20, 60.0)
        history = catalog.explain("folder-b")
        assert history is not None and history.media is not None
        assert (history.media.sha256, json.loads(history.media.probe_json)) == (
            SAME,
            {"duplicate_of": "folder-a"},
        )
        # Fetched again on request: the same video counts once.
        catalog.retry(key="folder-b")
        catalog.claim(run_id, limit=1)
        assert owner(catalog, run_id, "b") == "folder-a"
    # The first video loses ownership: from now on, the seconds count for this one.
    catalog.record_video_failure(run_id, video_failure("a"))
    catalog.retry(key="folder-b")
    catalog.claim(run_id, limit=1)
    assert owner(catalog, run_id, "b") is None
    status = catalog.status()
    assert (status.fetched, status.media_seconds, status.seconds_by_fate) == (2, 120.0, {"failed": 60.0})


def test_allowed_duplicate_does_not_own_bytes(catalog: Catalog) -> None:
    run_id = started_run(catalog, "abc")
    assert owner(catalog, run_id, "a", unique=False) is None
    assert owner(catalog, run_id, "b", unique=False) is None
    assert owner(catalog, run_id, "c", unique=True) == "folder-a"


def test_started_duplicate_continues(catalog: Catalog) -> None:
    run_id = started_run(catalog, "ab")
    owner(catalog, run_id, "a", unique=False)
    owner(catalog, run_id, "b", unique=False)
    catalog.record_done(run_id, [segment("b", 0)])
    catalog.end_run(run_id, "stopped")
    again = begin(catalog)
    catalog.claim(again, limit=2)
    assert owner(catalog, again, "b") is None


def test_owner_stays_through_dead_run_and_backoff(catalog: Catalog, clock: Clock) -> None:
    run_id = started_run(catalog, "ab")
    owner(catalog, run_id, "a")
    clock.sleep(LEASE_SECONDS * 2)
    second = begin(catalog)
    assert len(catalog.claim(second, limit=2)) == 2
    assert owner(catalog, second, "b") == "folder-a"
    assert owner(catalog, second, "a") is None
    waits = video_failure("a", policy=Policy.RETRY, again=clock.now + 5)
    catalog.record_video_failure(second, waits)
    catalog.retry(key="folder-b")
    catalog.claim(second, limit=1)
    assert owner(catalog, second, "b") == "folder-a"


def test_failed_owner_loses_ownership(catalog: Catalog) -> None:
    run_id = started_run(catalog, "ab")
    owner(catalog, run_id, "a")
    catalog.record_video_failure(run_id, video_failure("a", error_class="OutOfMemoryError"))
    assert owner(catalog, run_id, "b") is None
    catalog.retry(error_class="OutOfMemoryError")
    catalog.claim(run_id, limit=1)
    assert owner(catalog, run_id, "a") == "folder-b"


def test_failed_owner_with_segments_stays_owner(catalog: Catalog) -> None:
    run_id = started_run(catalog, "ab")
    owner(catalog, run_id, "a")
    catalog.record_done(run_id, [segment("a", 0)])
    catalog.record_video_failure(run_id, video_failure("a", error_class="CorruptMediaError"))
    assert owner(catalog, run_id, "b") == "folder-a"


def test_owner_with_changed_bytes_loses_ownership(catalog: Catalog) -> None:
    run_id = started_run(catalog, "ab")
    owner(catalog, run_id, "a")
    owner(catalog, run_id, "a", sha256="b" * 64)
    assert owner(catalog, run_id, "b") is None


def test_each_configuration_has_its_own_owner(catalog: Catalog) -> None:
    run_id = started_run(catalog, "a")
    owner(catalog, run_id, "a")
    catalog.record_split(run_id, "folder-a", 1)
    catalog.record_done(run_id, [segment("a", 0)])
    other = started_run(catalog, "b", fingerprint="f2")
    assert owner(catalog, other, "b") is None


def test_owner_done_elsewhere_loses_ownership(catalog: Catalog) -> None:
    run_id = started_run(catalog, "a")
    owner(catalog, run_id, "a")
    catalog.end_run(run_id, "stopped")  # no segment has ended: any configuration can claim it
    other = started_run(catalog, "", fingerprint="f2")
    catalog.claim(other, limit=1)
    owner(catalog, other, "a")
    catalog.record_split(other, "folder-a", 1)
    catalog.record_done(other, [segment("a", 0)])
    third = started_run(catalog, "b")
    assert owner(catalog, third, "b") is None


def test_duplicates_are_retried_only_by_name(catalog: Catalog) -> None:
    run_id = started_run(catalog, "abc")
    owner(catalog, run_id, "a")
    owner(catalog, run_id, "b")
    catalog.record_video_failure(run_id, video_failure("c"))
    assert catalog.retry() == 1
    assert catalog.status().videos["duplicate"] == 1
    assert catalog.retry(error_class="DuplicateMediaError") == 1
    assert catalog.status().videos["duplicate"] == 0


def test_concurrent_duplicates_have_one_owner(new_url: Callable[[], str]) -> None:
    url, crowd = new_url(), 6
    with Catalog.open(url, clock=Clock()) as setup:
        setup.add(ref(str(number)) for number in range(crowd))
        runs = [begin(setup) for _ in range(crowd)]
        keys = [setup.claim(run_id, limit=1)[0].key for run_id in runs]
    together = Barrier(crowd)

    def report(number: int) -> str | None:
        with Catalog.open(url, clock=Clock()) as catalog:
            together.wait()
            return catalog.record_media(runs[number], keys[number], media(), unique=True)

    with ThreadPoolExecutor(crowd) as threads:
        owners = list(threads.map(report, range(crowd)))
    [first] = [key for key, other in zip(keys, owners, strict=True) if other is None]
    assert set(owners) == {None, first}
