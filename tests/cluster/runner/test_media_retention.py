"""When the space of fetched media is freed, by `acquire.keep_media`."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from mien.cluster.runner.media_retention import Keep, MediaRetention
from mien.ingest.catalog import Catalog
from mien.ingest.errors import Policy
from mien.ingest.fetch import Fetch, pins
from mien.ingest.media import Job, MediaFile
from tests.cluster.runner.run_without_engine import media_of, media_record
from tests.ingest.catalog.makers import Clock, begin
from tests.ingest.catalog.platforms import FREE, ask, put_off, tubes

GONE_WHEN: list[tuple[Keep, str, bool]] = [
    ("until_done", "running", False),
    ("until_done", "waiting", False),
    ("until_done", "failed", True),
    ("until_done", "done", True),
    ("always", "waiting", False),
    ("always", "done", True),
    ("never", "running", False),
    ("never", "waiting", True),
    ("never", "failed", True),
    ("never", "done", True),
]


@pytest.mark.parametrize(("keep", "state", "is_gone"), GONE_WHEN)
def test_when_cached_copies_are_deleted(tmp_path: Path, keep: Keep, state: str, is_gone: bool) -> None:
    clock = Clock()
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock) as catalog:
        catalog.add(tubes(1))
        run_id = begin(catalog)
        [job] = ask(catalog, run_id, [FREE])
        fetch = Fetch(cache_dir=str(tmp_path / "cache"))
        with fetch.cache.obtain(job.video.uri, "", lambda slot: slot.write(b"film")) as path:
            media = media_with(job, path)
        kept = MediaRetention(catalog, run_id, fetch, keep, clock=clock)
        catalog.record_media(run_id, job.key, media_record(4))
        kept.add(media)
        end_as(catalog, run_id, job, state, clock)
        kept.tidy()
        assert path.exists() != is_gone
        kept.tidy()


@pytest.mark.parametrize(("keep", "state"), [("never", "waiting"), ("until_done", "failed")])
def test_media_in_use_is_deleted_later(tmp_path: Path, keep: Keep, state: str) -> None:
    clock = Clock()
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock) as catalog:
        catalog.add(tubes(1))
        run_id = begin(catalog)
        [job] = ask(catalog, run_id, [FREE])
        fetch = Fetch(cache_dir=str(tmp_path / "cache"), cache_max_bytes=7)
        with fetch.cache.obtain(job.video.uri, "", lambda slot: slot.write(b"film"), pinned_by=job.key) as at:
            media = media_with(job, at)
        kept = MediaRetention(catalog, run_id, fetch, keep, clock=clock)
        catalog.record_media(run_id, job.key, media_record(4))
        kept.add(media)
        end_as(catalog, run_id, job, state, clock)
        with fetch.local_copy(replace(media, bytes=4)):
            kept.release()
            assert at.exists()
            assert not kept.has_space(), "it takes its room as long"
        kept.release()
        assert not at.exists()
        assert kept.has_space()


def test_unread_retained_media_needs_no_cache(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=Clock()) as catalog:
        catalog.add(tubes(1))
        run_id = begin(catalog)
        [job] = ask(catalog, run_id, [FREE])
        fetch = Fetch(cache_dir=str(tmp_path / "cache"))
        with fetch.cache.obtain(job.video.uri, "", lambda slot: slot.write(b"film")) as path:
            media = replace(media_with(job, path), retained_uri="/media/film.mp4")
        catalog.record_media(run_id, job.key, media_record(4))
        MediaRetention(catalog, run_id, fetch, "always").add(media)
        assert path.exists()
        MediaRetention(catalog, run_id, fetch, "always", only_fetch=True).add(media)
        assert not path.exists()


def test_old_cache_entries_are_renewed_or_deleted(tmp_path: Path) -> None:
    clock = Clock()
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock) as catalog:
        catalog.add(tubes(3))
        dead = begin(catalog)
        jobs = ask(catalog, dead, [FREE])
        fetch = Fetch(cache_dir=str(tmp_path / "cache"))
        paths = {}
        for job in jobs:
            uri = job.video.uri
            with fetch.cache.obtain(uri, "", lambda slot: slot.write(b"film"), pinned_by=job.key) as path:
                paths[job.key] = path
            os.utime(pins.marker(path), (0, 0))
        done, waiting, failed = jobs
        end_as(catalog, dead, done, "done", clock)
        end_as(catalog, dead, failed, "failed", clock)
        stranger = fetch.cache.path_of("stranger")
        with fetch.cache.obtain("stranger", "", lambda slot: slot.write(b"x"), pinned_by="http-stranger"):
            pass
        MediaRetention(catalog, begin(catalog), fetch, "until_done", clock=clock).renew()
        assert [paths[job.key].exists() for job in (done, waiting, failed)] == [False, True, False]
        assert pins.is_pinned(paths[waiting.key])
        assert stranger.exists(), "another catalog's"


def test_cache_reserves_space_for_largest_file(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=Clock()) as catalog:
        catalog.add(tubes(3))
        run_id = begin(catalog)
        jobs = ask(catalog, run_id, [FREE])
        fetch = Fetch(cache_dir=str(tmp_path / "cache"), cache_max_bytes=10)
        clock = Clock()
        kept = MediaRetention(catalog, run_id, fetch, "until_done", clock=clock)
        rooms = []
        for job in jobs[:2]:
            uri = job.video.uri
            with fetch.cache.obtain(uri, "", lambda slot: slot.write(b"film"), pinned_by=job.key) as path:
                rooms.append(kept.has_space())
                kept.add(media_with(job, path))
            rooms.append(kept.has_space())
        assert rooms == [True, True, False, False]  # before and after each came
        os.utime(pins.marker(path), (0, 0))
        clock.sleep(pins.COUNT_SECONDS)
        assert kept.has_space(), "media without a pin can be evicted"


def media_with(job: Job, path: Path) -> MediaFile:
    return replace(media_of(job), path=str(path))


def end_as(catalog: Catalog, run_id: str, job: Job, state: str, clock: Clock) -> None:
    if state == "waiting":
        catalog.record_video_failure(run_id, put_off(job, clock.now, policy=Policy.RETRY))
    elif state == "failed":
        catalog.record_video_failure(run_id, put_off(job, clock.now, policy=Policy.PERMANENT))
    elif state == "done":
        catalog.record_split(run_id, job.key, 0)
    assert catalog.states([job.key]) == {job.key: state}
