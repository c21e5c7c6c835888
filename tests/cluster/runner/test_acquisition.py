"""Claims, budgets and refusals of platforms, with a clock that the test controls."""

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
from tests.cluster.runner.run_without_engine import A, B, Run, jobs_of, media_of, media_record, wall
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


def test_open_grants_are_limited(start: Callable[..., Run]) -> None:
    run = start(A)
    one, two = jobs_of(run.next())
    assert run.next() == []
    run.had(one)
    assert len(jobs_of(run.next())) == 1
    run.fail(two, errors.PrivateVideoError("private"))
    assert len(jobs_of(run.next())) == 1


def test_local_work_continues_while_identity_is_paused(
    start: Callable[..., Run], catalog: Catalog, clock: Clock, run_log: pytest.LogCaptureFixture
) -> None:
    run = start(A, wait=True)
    one, two = jobs_of(run.next())
    run.fail(one, wall())
    run.fail(two, errors.IncompleteTransferError("reset"))
    history = run.history(one)
    assert (history.state, history.attempts, history.error_class) == ("waiting", 0, "BotWallError")
    assert run.history(two).attempts == 1
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


def test_other_identity_retries_refused_video(start: Callable[..., Run]) -> None:
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


def test_video_refused_alone_is_charged(start: Callable[..., Run], clock: Clock) -> None:
    """Otherwise, the identity would stay paused for all other runs."""
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
        if run.history(poison).attempts:
            break
    assert run.history(poison).attempts == 1
    assert run.catalog.status().fetched > 0


def test_server_retry_after_is_honoured(start: Callable[..., Run], clock: Clock) -> None:
    run = start(A, at_once=1)
    [job] = jobs_of(run.next())
    began = clock.now
    run.fail(job, wall(retry_after=10_000))
    [state] = run.catalog.egress([A], "youtube")
    assert state.paused_until == began + 10_000


def test_premiere_waits_without_counting_attempts(start: Callable[..., Run], clock: Clock) -> None:
    run = start(A, at_once=1)
    [job] = jobs_of(run.next())
    premiere = errors.PremiereError("premieres in 3 hours")
    premiere.retry_after_seconds = 3 * 3600.0
    began = clock.now
    run.fail(job, premiere)
    history = run.history(job)
    assert (history.state, history.attempts, history.next_try_at) == ("waiting", 0, began + 3 * 3600)


def test_retry_honours_retry_after(start: Callable[..., Run], clock: Clock) -> None:
    run = start(A, at_once=1)
    [job] = jobs_of(run.next())
    busy = errors.FetchError("503")
    busy.retry_after_seconds = 5000.0
    began = clock.now
    run.fail(job, busy)
    history = run.history(job)
    assert (history.attempts, history.next_try_at) == (1, began + 5000)


@pytest.mark.parametrize("wait", [True, False])
def test_run_with_only_paused_work_waits_or_reports(
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


def test_short_budget_waits_always_happen(start: Callable[..., Run]) -> None:
    run = start(Identity("a", videos_per_hour=60), wait=False, at_once=1)
    for _ in range(6):
        jobs = run.next()
        assert jobs is not None
        for job in jobs:
            run.had(job)


def test_claiming_is_cheap_without_budget(start: Callable[..., Run], clock: Clock) -> None:
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


def test_fetching_pauses_at_byte_budget(start: Callable[..., Run]) -> None:
    # A video in progress is assumed to have 20 MB.
    run = start(A, at_once=1, media_budget_bytes=30_000_000, wait=True)
    [one] = jobs_of(run.next())
    run.acquisition.reported(one, media_of(one))
    run.catalog.record_media(run.id, one.key, media_record(40_000_000))
    assert run.next() == []
    run.observer.exhausted(one.key, 0)
    assert len(jobs_of(run.next())) == 1


def test_local_films_continue_with_full_cache(start: Callable[..., Run], catalog: Catalog) -> None:
    room = [False]
    run = start(A, at_once=1, has_space=lambda: room[0])
    assert run.next() == []
    catalog.add([ref("film")])
    assert [job.key for job in jobs_of(run.next())] == ["folder-film"]
    room[0] = True
    assert [job.video.source for job in jobs_of(run.next())] == ["youtube"]


def test_run_waits_for_space_despite_slow_catalog(
    start: Callable[..., Run], catalog: Catalog, clock: Clock
) -> None:
    catalog.add([replace(ref("film", uri="https://example.org/film.mp4"), source="http")])
    room = [False]
    run = start(has_space=lambda: room[0])
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


def test_broken_retained_copy_is_refetched(start: Callable[..., Run], catalog: Catalog) -> None:
    before = start(A, at_once=1)
    [job] = jobs_of(before.next())
    catalog.record_media(before.id, job.key, media_record(2000))
    catalog.record_retained(before.id, job.key, "/media/one.mp4")
    catalog.end_run(before.id, "stopped")
    run = start(A, at_once=1)
    kept = next(each for each in jobs_of(run.next()) if each.media_uri)
    assert kept.identity == ""
    run.fail(kept, errors.GoneError("the copy that was kept is not there any more"))
    history = run.history(kept)
    assert (history.state, history.attempts) == ("waiting", 0)
    assert catalog.media_room().retained_bytes == 0


def test_cached_media_uses_no_budget(start: Callable[..., Run], catalog: Catalog) -> None:
    identity = Identity("a", videos_per_hour=1)
    run = start(identity, at_once=1)
    for _ in range(5):
        [job] = jobs_of(run.next())
        run.had(job, requests=0, size=0)
    assert catalog.egress([identity], "youtube")[0].videos == 0


def test_network_usage_of_errors_reaches_driver() -> None:
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
