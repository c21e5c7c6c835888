"""What a run asks of platforms, and what it does when they refuse: with a clock that the test holds."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event

from mien.cluster.engine import ErrorInfo
from mien.cluster.engine.errors import classify
from mien.ingest import errors
from mien.ingest.catalog import Catalog
from mien.ingest.rate.circuit import FIRST_COOLDOWN_SECONDS
from mien.ingest.rate.identity import Identity
from tests.cluster.runner.rig import A, B, Run, jobs_of, media_of, media_record, wall
from tests.ingest.catalog.makers import Clock, ref
from tests.ingest.catalog.platforms import tubes


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Iterator[Catalog]:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock) as opened:
        opened.add(tubes(20))
        yield opened


@pytest.fixture
def start(catalog: Catalog, clock: Clock, tmp_path: Path) -> Callable[..., Run]:
    return lambda *identities, **options: Run(catalog, clock, tmp_path, *identities, **options)


def test_no_more_is_granted_than_can_be_asked_at_once(start: Callable[..., Run]) -> None:
    run = start(A)
    one, two = jobs_of(run.next())
    assert run.next() == []
    run.had(one)
    assert len(jobs_of(run.next())) == 1
    run.fail(two, errors.PrivateVideoError("private"))
    assert len(jobs_of(run.next())) == 1


def test_a_refused_identity_rests_and_local_work_goes_on(
    start: Callable[..., Run], catalog: Catalog, clock: Clock, run_log: pytest.LogCaptureFixture
) -> None:
    run = start(A, wait=True)
    one, two = jobs_of(run.next())
    run.fail(one, wall())
    run.fail(two, errors.IncompleteTransferError("reset"))
    story = run.story(one)
    assert (story.state, story.attempts, story.error_class) == ("waiting", 0, "BotWallError")
    assert run.story(two).attempts == 1
    assert "identity a is paused on youtube until" in run_log.messages[0]
    catalog.add([ref("film")])
    assert [job.key for job in jobs_of(run.next())] == ["folder-film"]
    end = clock.now + FIRST_COOLDOWN_SECONDS - 30
    while clock.now < end:
        assert run.next() == []
    [state] = catalog.egress([A], "youtube")
    assert state.paused_until is not None
    clock.sleep(state.paused_until - clock.now + 1)
    [probe] = jobs_of(run.next())
    assert probe.key != one.key  # another one finds out
    assert run.next() == []
    run.had(probe)
    assert len(jobs_of(run.next())) == 2


def test_what_one_identity_is_refused_another_asks_for(start: Callable[..., Run]) -> None:
    run = start(A, B, at_once=1)
    [job] = jobs_of(run.next())
    run.fail(job, wall())
    others = []
    for _ in range(19):
        [other] = jobs_of(run.next())
        others.append(other)
        run.had(other)
    assert {other.identity for other in others} == {({"a", "b"} - {job.identity}).pop()}
    assert others[0].key == job.key


def test_a_video_that_alone_is_refused_is_charged(start: Callable[..., Run], clock: Clock) -> None:
    """Else it would close the way out for all others for ever."""
    run = start(A, at_once=1, wait=True)
    [poison] = jobs_of(run.next())
    run.fail(poison, wall())
    for _ in range(50):
        clock.now = max(clock.now, run.catalog.egress([A], "youtube")[0].paused_until or 0.0)
        for job in jobs_of(run.next()):
            if job.key == poison.key:
                run.fail(job, wall())
            else:
                run.had(job)
        clock.sleep(100)
        if run.story(poison).attempts:
            break
    assert run.story(poison).attempts == 1
    assert run.catalog.status().fetched > 0


def test_a_server_that_says_when_is_asked_then(start: Callable[..., Run], clock: Clock) -> None:
    run = start(A, at_once=1)
    [job] = jobs_of(run.next())
    began = clock.now
    run.fail(job, wall(retry_after=10_000))
    [state] = run.catalog.egress([A], "youtube")
    assert state.paused_until == began + 10_000


def test_a_premiere_waits_for_its_time_and_is_not_charged(start: Callable[..., Run], clock: Clock) -> None:
    run = start(A, at_once=1)
    [job] = jobs_of(run.next())
    premiere = errors.PremiereError("premieres in 3 hours")
    premiere.retry_after_seconds = 3 * 3600.0
    began = clock.now
    run.fail(job, premiere)
    story = run.story(job)
    assert (story.state, story.attempts, story.next_try_at) == ("waiting", 0, began + 3 * 3600)


def test_a_retry_waits_as_long_as_it_was_asked_to(start: Callable[..., Run], clock: Clock) -> None:
    run = start(A, at_once=1)
    [job] = jobs_of(run.next())
    busy = errors.FetchError("503")
    busy.retry_after_seconds = 5000.0
    began = clock.now
    run.fail(job, busy)
    story = run.story(job)
    assert (story.attempts, story.next_try_at) == (1, began + 5000)


@pytest.mark.parametrize("wait", [True, False])
def test_a_run_with_nothing_but_paused_work_waits_or_says_until_when(
    start: Callable[..., Run], clock: Clock, wait: bool, run_log: pytest.LogCaptureFixture
) -> None:
    run = start(A, wait=wait)
    for job in jobs_of(run.next()):
        run.fail(job, wall())
    assert run.next() == ([] if wait else None)
    assert ("waiting for platform budgets until" if wait else "allow no download before") in run_log.messages[
        -1
    ]
    clock.sleep(3600)
    if wait:
        assert len(jobs_of(run.next())) == 1


def test_a_pace_is_waited_for_whatever_was_asked(start: Callable[..., Run]) -> None:
    run = start(Identity("a", videos_per_hour=60), wait=False, at_once=1)
    for _ in range(6):
        jobs = run.next()
        assert jobs is not None
        for job in jobs:
            run.had(job)


def test_asking_for_more_is_cheap_while_nothing_is_to_be_had(start: Callable[..., Run], clock: Clock) -> None:
    run = start(A, wait=True)
    for job in jobs_of(run.next()):
        run.fail(job, wall())
    asked: list[str] = []

    @event.listens_for(Engine, "before_cursor_execute")
    def note(*arguments: Any) -> None:
        asked.append(arguments[2])

    try:
        for _ in range(600):  # a minute of an engine that asks ten times a second
            clock.sleep(0.1)
            assert run.observer.next_inputs(8) == []
    finally:
        event.remove(Engine, "before_cursor_execute", note)
    assert len(asked) < 60 * 25


def test_fetching_pauses_at_the_byte_budget_and_goes_on_when_there_is_room(start: Callable[..., Run]) -> None:
    # One video on its way is taken to be one of 20 MB.
    run = start(A, at_once=1, media_budget_bytes=30_000_000, wait=True)
    [one] = jobs_of(run.next())
    run.acquisition.reported(one, media_of(one))
    run.catalog.record_media(run.id, one.key, media_record(40_000_000))
    assert run.next() == []
    run.observer.exhausted(one.key, 0)
    assert len(jobs_of(run.next())) == 1


def test_without_room_in_the_cache_films_that_lie_here_go_on(
    start: Callable[..., Run], catalog: Catalog
) -> None:
    room = [False]
    run = start(A, at_once=1, has_room=lambda: room[0])
    assert run.next() == []
    catalog.add([ref("film")])
    assert [job.key for job in jobs_of(run.next())] == ["folder-film"]
    room[0] = True
    assert [job.video.source for job in jobs_of(run.next())] == ["youtube"]


def test_a_run_does_not_end_while_it_waits_for_room_however_long_the_catalog_takes(
    start: Callable[..., Run], catalog: Catalog, clock: Clock
) -> None:
    catalog.add([replace(ref("film", uri="https://example.org/film.mp4"), source="http")])
    room = [False]
    run = start(has_room=lambda: room[0])
    assert run.acquisition.claim(8) == []
    clock.sleep(300.0)
    assert run.acquisition.is_worth_waiting()
    room[0] = True
    assert [job.video.source for job in run.acquisition.claim(8)] == ["http"]
    assert not run.acquisition.is_worth_waiting()


def test_retained_media_over_budget_ends_run(
    start: Callable[..., Run], run_log: pytest.LogCaptureFixture
) -> None:
    run = start(A, at_once=1, media_budget_bytes=1000, wait=True)
    [one] = jobs_of(run.next())
    run.catalog.record_media(run.id, one.key, media_record(2000))
    run.catalog.record_retained(run.id, one.key, "/media/one.mp4")
    run.had(one, size=2000)
    assert run.next() is None
    assert "raise acquire.media_budget_bytes" in run_log.messages[-1]


def test_a_kept_copy_that_broke_is_had_from_the_platform_again(
    start: Callable[..., Run], catalog: Catalog
) -> None:
    before = start(A, at_once=1)
    [job] = jobs_of(before.next())
    catalog.record_media(before.id, job.key, media_record(2000))
    catalog.record_retained(before.id, job.key, "/media/one.mp4")
    catalog.end_run(before.id, "stopped")
    run = start(A, at_once=1)
    kept = next(each for each in jobs_of(run.next()) if each.media_uri)
    assert kept.identity == ""
    run.fail(kept, errors.GoneError("the copy that was kept is not there any more"))
    story = run.story(kept)
    assert (story.state, story.attempts) == ("waiting", 0)
    assert catalog.media_room().retained_bytes == 0


def test_what_was_in_the_cache_costs_nothing(start: Callable[..., Run], catalog: Catalog) -> None:
    identity = Identity("a", videos_per_hour=1)
    run = start(identity, at_once=1)
    for _ in range(5):
        [job] = jobs_of(run.next())
        run.had(job, requests=0, size=0)
    assert catalog.egress([identity], "youtube")[0].videos == 0


def test_network_facts_of_an_error_reach_the_driver() -> None:
    error = wall(retry_after=7.0)
    error.usage_requests, error.usage_bytes = 3, 4
    info = classify(error)
    assert isinstance(info, ErrorInfo)
    assert (info.circuit, info.retry_after_seconds, info.usage_requests, info.usage_bytes) == (
        True,
        7.0,
        3,
        4,
    )
