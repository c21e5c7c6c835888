"""If a connection breaks in a COMMIT, the work is done exactly once and the run continues."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from typing import Any, get_args
from uuid import uuid4

import psycopg
import pytest

from mien.ingest.catalog import Catalog, MediaRecord, Outcome, Usage
from mien.ingest.errors import LeaseLostError, Policy
from tests.commit_dropper import CommitDropper, LostMessage
from tests.ingest.catalog.makers import Clock, begin, ref, segment, shard
from tests.ingest.catalog.platforms import HAD, REFUSED, A, B, ask, put_off, tubes

pytestmark = pytest.mark.slow

UNASKED = Usage(outcome=Outcome.UNASKED)
PATIENCE_SECONDS = 300.0


@pytest.fixture
def way(postgres_url: str, new_url: Callable[[], str]) -> Iterator[CommitDropper]:
    with CommitDropper(new_url()) as cutter:
        yield cutter


@pytest.fixture
def new_url(postgres_url: str) -> Callable[[], str]:
    def new_schema() -> str:
        name = f"lost_{uuid4().hex}"
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f"CREATE SCHEMA {name}".encode())
        return f"{postgres_url}?options=-csearch_path%3D{name}"

    return new_schema


@pytest.fixture
def catalog(way: CommitDropper, clock: Clock) -> Iterator[Catalog]:
    with Catalog.open(way.url, clock=clock, patience_seconds=PATIENCE_SECONDS) as opened:
        yield opened


LOST = pytest.mark.parametrize("lost", get_args(LostMessage))


def cutting(way: CommitDropper, lost: LostMessage | None, work: Callable[[], Any]) -> Any:
    before, way.drop = way.dropped, lost
    found = work()
    assert way.dropped == before + (lost is not None), "nothing was lost: this tries nothing"
    return found


@LOST
def test_repeated_claim_returns_same_jobs(
    way: CommitDropper, catalog: Catalog, clock: Clock, lost: LostMessage
) -> None:
    catalog.add([*tubes(3), ref("a"), ref("b"), ref("begun")])
    first = begin(catalog)
    [begun] = [job for job in catalog.claim(first, limit=10) if job.video.id == "begun"]
    done = replace(segment("begun", 60), video_key=begun.key)
    catalog.commit_shard(first, shard("s1", first), [done])
    catalog.end_run(first, "stopped")
    run_id = begin(catalog)
    clock.sleep(3600.0)
    catalog.heartbeat(run_id)
    jobs = cutting(way, lost, lambda: ask(catalog, run_id, [A, B], limit=5, asking=2))
    granted = {job.key: job.identity for job in jobs if job.identity}
    assert len({job.key for job in jobs}) == len(jobs) == 5
    assert sorted(granted.values()) == ["a", "b"]
    assert {job.key: job.done_starts_ms for job in jobs}[begun.key] == frozenset({60_000})
    states = catalog.status().videos
    assert (states["running"], states["waiting"]) == (5, 1), "none is held that the run does not know of"
    assert [each.in_progress for each in catalog.egress([A, B], "youtube")] == [1, 1], "each is granted once"
    clock.sleep(1.0)
    assert len(cutting(way, lost, lambda: catalog.claim(run_id, limit=10, identities=[A, B]))) == 1
    clock.sleep(1.0)
    assert cutting(way, lost, lambda: catalog.claim(run_id, limit=10)) == []


@pytest.mark.parametrize("usage", [HAD, REFUSED, UNASKED], ids=lambda usage: usage.outcome.value)
@LOST
def test_grant_is_settled_once(
    way: CommitDropper,
    catalog: Catalog,
    new_url: Callable[[], str],
    clock: Clock,
    lost: LostMessage,
    usage: Usage,
) -> None:
    """Like a grant whose answer is not lost, except for the random part of a pause."""

    def settled(on: Catalog, broken: LostMessage | None) -> tuple[Any, ...]:
        on.add(tubes(2))
        run_id = begin(on)
        [job] = ask(on, run_id, [A], asking=1)
        clock.sleep(20.0)
        # An earlier grant of the same video, which must not change.
        on.settle(run_id, job.key, HAD)
        on.record_video_failure(run_id, put_off(job, clock.now))
        clock.sleep(20.0)
        on.heartbeat(run_id)
        again = next(each for each in ask(on, run_id, [A], asking=1) if each.key == job.key)
        clock.sleep(1.0)
        paused = cutting(way, broken, lambda: on.settle(run_id, again.key, usage))
        [state] = on.egress([A], "youtube")
        assert (paused is not None) == (usage is REFUSED)
        if paused is not None:
            assert paused.until == state.paused_until
        return state.videos, state.requests, state.bytes, state.strikes, state.in_progress, state.mean_bytes

    with Catalog.open(new_url(), clock=clock) as whole:
        expected = settled(whole, None)
    assert settled(catalog, lost) == expected


@LOST
def test_refused_probe_counts_once(
    way: CommitDropper, catalog: Catalog, clock: Clock, lost: LostMessage
) -> None:
    """Only refusals of a probe count every time."""
    refused = replace(REFUSED, requests=1, bytes=10)

    def after_the_pause() -> None:
        [state] = catalog.egress([A], "youtube")
        assert state.paused_until is not None
        clock.sleep(state.paused_until - clock.now + 1.0)
        catalog.heartbeat(run_id)

    catalog.add(tubes(2))
    run_id = begin(catalog)
    [one] = ask(catalog, run_id, [A], asking=1)
    catalog.settle(run_id, one.key, refused)
    after_the_pause()
    [two] = ask(catalog, run_id, [A], asking=1)
    cutting(way, lost, lambda: catalog.settle(run_id, two.key, refused))
    assert [state.strikes for state in catalog.egress([A], "youtube")] == [2]
    after_the_pause()
    given = cutting(way, "request", lambda: catalog.grant_page(A, "youtube", is_first=False))
    clock.sleep(2.0)
    cutting(way, lost, lambda: catalog.settle_page(given.number, A, refused))
    assert [state.strikes for state in catalog.egress([A], "youtube")] == [3]


@LOST
def test_lost_page_grant_is_charged_at_most_twice(
    way: CommitDropper, catalog: Catalog, lost: LostMessage
) -> None:
    given = cutting(way, lost, lambda: catalog.grant_page(A, "youtube", is_first=False))
    [state] = catalog.egress([A], "youtube")
    assert given.number is not None
    assert state.requests == 1 + (lost == "reply"), "never less than what may be asked"


@LOST
def test_video_updates_are_written_once(
    way: CommitDropper, catalog: Catalog, clock: Clock, lost: LostMessage
) -> None:
    catalog.add(ref(name) for name in ("one", "same", "broken"))
    run_id = begin(catalog)
    one, same, broken = sorted(catalog.claim(run_id, limit=3), key=lambda job: job.video.id != "one")
    record = MediaRecord(sha256="5", bytes=7, duration_seconds=9.0)
    for job, other in ((one, None), (same, one.key)):
        reported = cutting(way, lost, lambda: catalog.record_media(run_id, job.key, record, unique=True))  # noqa: B023
        assert reported == other
    failure = put_off(broken, 0.0, policy=Policy.RETRY)
    with suppress(LeaseLostError):  # it was committed, and the run has released the video
        cutting(way, lost, lambda: catalog.record_video_failure(run_id, failure))
    cutting(way, lost, lambda: catalog.record_retained(run_id, one.key, "/kept/one.mp4"))
    cutting(way, lost, lambda: catalog.record_split(run_id, one.key, 0))
    cutting(way, lost, lambda: catalog.end_run(run_id, "finished"))
    status, history = catalog.status(), catalog.explain(broken.key)
    assert history is not None
    assert (history.state, history.attempts) == ("waiting", 1)
    assert [status.videos[state] for state in ("done", "waiting", "duplicate")] == [1, 1, 1]
    assert (status.fetched, status.media_seconds) == (2, 9.0)
    assert catalog.media_room().retained_bytes == 7
