"""The same bytes under several names: one video has them, through kills and retries, and between runs."""

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


def begun(catalog: Catalog, names: str, *, fingerprint: str = "f1") -> str:
    catalog.add(ref(name) for name in names)
    run_id = begin(catalog, fingerprint=fingerprint)
    catalog.claim(run_id, limit=len(names))
    return run_id


def owner(catalog: Catalog, run_id: str, name: str, *, sha256: str = SAME, unique: bool = True) -> str | None:
    return catalog.record_media(run_id, f"folder-{name}", media(sha256), unique=unique)


def test_the_first_has_the_bytes_and_the_second_ends_as_its_duplicate(catalog: Catalog) -> None:
    run_id = begun(catalog, "abc")
    assert owner(catalog, run_id, "a") is None
    assert owner(catalog, run_id, "b") == "folder-a"
    assert owner(catalog, run_id, "c", sha256="b" * 64) is None
    assert owner(catalog, run_id, "a") is None  # told again: a call may be repeated
    story = catalog.explain("folder-b")
    assert story is not None
    assert (story.state, story.error_class) == ("duplicate", "DuplicateMediaError")
    assert "same bytes as folder-a" in str(story.error_text)
    with pytest.raises(LeaseLostError):
        owner(catalog, run_id, "b")


def test_a_duplicate_is_counted_apart_from_failures_and_has_no_seconds(catalog: Catalog) -> None:
    run_id = begun(catalog, "abc")
    owner(catalog, run_id, "a")
    owner(catalog, run_id, "b")
    catalog.record_video_failure(run_id, video_failure("c"))
    status = catalog.status()
    assert (status.videos["duplicate"], status.videos["failed"]) == (1, 1)
    assert status.video_errors == {"GoneError": 1}
    assert status.media_seconds == 60.0
    assert status.seconds_by_fate == {}
    assert catalog.error_classes() == {"DuplicateMediaError": 1, "GoneError": 1}


def test_a_duplicate_was_fetched_all_the_same(catalog: Catalog) -> None:
    run_id = begun(catalog, "ab")
    owner(catalog, run_id, "a")
    owner(catalog, run_id, "b")
    for _ in range(2):
        status = catalog.status()
        assert (status.fetched, status.fetched_bytes, status.media_seconds) == (2, 20, 60.0)
        story = catalog.explain("folder-b")
        assert story is not None and story.media is not None
        assert (story.media.sha256, json.loads(story.media.probe_json)) == (
            SAME,
            {"duplicate_of": "folder-a"},
        )
        # Fetched again because a person wants it: the same video is counted once.
        catalog.retry(key="folder-b")
        catalog.claim(run_id, limit=1)
        assert owner(catalog, run_id, "b") == "folder-a"
    # The first one lets go: from now on the seconds are this one's.
    catalog.record_video_failure(run_id, video_failure("a"))
    catalog.retry(key="folder-b")
    catalog.claim(run_id, limit=1)
    assert owner(catalog, run_id, "b") is None
    status = catalog.status()
    assert (status.fetched, status.media_seconds, status.seconds_by_fate) == (2, 120.0, {"failed": 60.0})


def test_kept_on_request_and_the_bytes_are_still_the_first_ones(catalog: Catalog) -> None:
    run_id = begun(catalog, "abc")
    assert owner(catalog, run_id, "a", unique=False) is None
    assert owner(catalog, run_id, "b", unique=False) is None
    assert owner(catalog, run_id, "c", unique=True) == "folder-a"


def test_what_was_begun_while_duplicates_were_kept_goes_on(catalog: Catalog) -> None:
    run_id = begun(catalog, "ab")
    owner(catalog, run_id, "a", unique=False)
    owner(catalog, run_id, "b", unique=False)
    catalog.record_done(run_id, [segment("b", 0)])
    catalog.end_run(run_id, "stopped")
    again = begin(catalog)
    catalog.claim(again, limit=2)
    assert owner(catalog, again, "b") is None


def test_the_owner_stays_through_a_dead_run_and_a_backoff(catalog: Catalog, clock: Clock) -> None:
    run_id = begun(catalog, "ab")
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


def test_an_owner_that_failed_for_good_lets_go(catalog: Catalog) -> None:
    run_id = begun(catalog, "ab")
    owner(catalog, run_id, "a")
    catalog.record_video_failure(run_id, video_failure("a", error_class="OutOfMemoryError"))
    assert owner(catalog, run_id, "b") is None
    catalog.retry(error_class="OutOfMemoryError")
    catalog.claim(run_id, limit=1)
    assert owner(catalog, run_id, "a") == "folder-b"


def test_an_owner_with_something_to_show_keeps_the_bytes_even_if_it_fails(catalog: Catalog) -> None:
    run_id = begun(catalog, "ab")
    owner(catalog, run_id, "a")
    catalog.record_done(run_id, [segment("a", 0)])
    catalog.record_video_failure(run_id, video_failure("a", error_class="CorruptMediaError"))
    assert owner(catalog, run_id, "b") == "folder-a"


def test_an_owner_whose_bytes_have_changed_lets_go(catalog: Catalog) -> None:
    run_id = begun(catalog, "ab")
    owner(catalog, run_id, "a")
    owner(catalog, run_id, "a", sha256="b" * 64)
    assert owner(catalog, run_id, "b") is None


def test_each_configuration_has_its_own_owner(catalog: Catalog) -> None:
    run_id = begun(catalog, "a")
    owner(catalog, run_id, "a")
    catalog.record_split(run_id, "folder-a", 1)
    catalog.record_done(run_id, [segment("a", 0)])
    other = begun(catalog, "b", fingerprint="f2")
    assert owner(catalog, other, "b") is None


def test_one_that_another_configuration_has_done_by_now_lets_go(catalog: Catalog) -> None:
    run_id = begun(catalog, "a")
    owner(catalog, run_id, "a")
    catalog.end_run(run_id, "stopped")  # nothing has ended: any configuration may take it
    other = begun(catalog, "", fingerprint="f2")
    catalog.claim(other, limit=1)
    owner(catalog, other, "a")
    catalog.record_split(other, "folder-a", 1)
    catalog.record_done(other, [segment("a", 0)])
    third = begun(catalog, "b")
    assert owner(catalog, third, "b") is None


def test_duplicates_are_retried_only_by_name(catalog: Catalog) -> None:
    run_id = begun(catalog, "abc")
    owner(catalog, run_id, "a")
    owner(catalog, run_id, "b")
    catalog.record_video_failure(run_id, video_failure("c"))
    assert catalog.retry() == 1
    assert catalog.status().videos["duplicate"] == 1
    assert catalog.retry(error_class="DuplicateMediaError") == 1
    assert catalog.status().videos["duplicate"] == 0


def test_of_many_that_come_at_once_one_is_first(new_url: Callable[[], str]) -> None:
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
