"""Platform videos are granted within each identity's budget, and queries take turns."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Callable

import pytest

from mien.ingest.catalog import Catalog, MediaRecord, Outcome, Usage
from mien.ingest.errors import Policy
from mien.ingest.rate.governor import BURST_SECONDS, WINDOW_SECONDS
from mien.ingest.rate.identity import Identity
from tests.ingest.catalog.makers import Clock, begin, ref
from tests.ingest.catalog.platforms import FREE, HAD, A, B, ask, put_off, tube, tubes, until_asked


def test_no_platform_claim_without_identity(catalog: Catalog) -> None:
    catalog.add([*tubes(3), ref("film")])
    assert [job.key for job in catalog.claim(begin(catalog), limit=9)] == ["folder-film"]


def test_job_names_the_granted_identity(catalog: Catalog) -> None:
    catalog.add(tubes(1))
    [job] = ask(catalog, begin(catalog), [A])
    assert job.identity == "a"
    history = catalog.explain(job.key)
    assert history is not None
    assert [(event.what, event.text) for event in history.events] == [("claimed", "through a")]


@pytest.mark.slow
def test_burst_is_small_and_hour_is_within_budget(catalog: Catalog, clock: Clock) -> None:
    catalog.add(tubes(1000))
    run_id = begin(catalog)
    first = ask(catalog, run_id, [A])
    assert len(first) == BURST_SECONDS / (WINDOW_SECONDS / (A.videos_per_hour or 0))
    granted, began = len(first), clock.now
    for job in first:
        catalog.settle(run_id, job.key, HAD)
    while jobs := until_asked(catalog, clock, run_id, [A], seconds=began + WINDOW_SECONDS - clock.now):
        granted += len(jobs)
        catalog.settle(run_id, jobs[0].key, HAD)
        if clock.now >= began + WINDOW_SECONDS:
            break
    assert 290 <= granted <= 301


def test_identities_share_the_work(catalog: Catalog) -> None:
    catalog.add(tubes(100))
    by_identity = Counter(job.identity for job in ask(catalog, begin(catalog), [A, B]))
    assert by_identity == {"a": 10, "b": 10}


def test_several_runs_share_a_budget(catalog: Catalog) -> None:
    catalog.add(tubes(100))
    runs = [begin(catalog) for _ in range(3)]
    assert sum(len(ask(catalog, run_id, [A], limit=4)) for run_id in runs) == 10


def test_platform_limit_leaves_room_for_local_files(catalog: Catalog) -> None:
    catalog.add([*tubes(50), *(ref(f"film{number}") for number in range(50))])
    jobs = ask(catalog, begin(catalog), [A], limit=8, asking=2)
    assert Counter(job.video.source for job in jobs) == {"youtube": 2, "folder": 6}


@pytest.mark.parametrize("what", ["requests", "bytes"])
def test_usage_above_reserve_is_charged_later(catalog: Catalog, clock: Clock, what: str) -> None:
    most = {"requests": 100, "bytes": 10**9}[what]
    identity = Identity("a", videos_per_hour=0, **{f"{what}_per_hour": most})  # type: ignore[arg-type]
    catalog.add(tubes(20))
    run_id = begin(catalog)
    [job] = until_asked(catalog, clock, run_id, [identity])
    settled_at = clock.now
    catalog.settle(run_id, job.key, Usage(outcome=Outcome.SUCCEEDED, **{what: 3 * most}))  # type: ignore[arg-type]
    [state] = catalog.egress([identity], "youtube")
    assert getattr(state, what) == 3 * most
    assert until_asked(catalog, clock, run_id, [identity])
    assert clock.now >= settled_at + WINDOW_SECONDS


def test_unreported_grant_ends_with_its_run(catalog: Catalog, clock: Clock) -> None:
    identity = Identity("a", videos_per_hour=1)
    catalog.add(tubes(3))
    dead = begin(catalog)
    [job] = ask(catalog, dead, [identity])
    clock.sleep(10 * WINDOW_SECONDS)
    alive = begin(catalog)  # the hour starts when the dead run is known to be dead
    assert ask(catalog, alive, [identity]) == []
    ended_at = clock.now
    [again] = until_asked(catalog, clock, alive, [identity])
    assert ended_at + WINDOW_SECONDS <= clock.now <= ended_at + WINDOW_SECONDS + 10
    assert again.key == job.key


def test_queries_take_turns_oldest_first(catalog: Catalog) -> None:
    catalog.add([*tubes(200, query="big"), *tubes(3, query="small"), *tubes(5, query="middle")])
    run_id = begin(catalog)
    order = [job.video for _ in range(12) for job in ask(catalog, run_id, [FREE], limit=1)]
    assert [video.query for video in order[:9]] == ["big", "middle", "small"] * 3
    assert {video.query for video in order[9:]} == {"big", "middle"}
    for query in ("big", "middle", "small"):
        names = [video.id for video in order if video.query == query]
        assert names == sorted(names)


def test_turns_continue_across_claims_and_runs(catalog: Catalog) -> None:
    for query in "abcd":
        catalog.add(tubes(9, query=query))
    order = [
        job.video.query
        for limit in (3, 2, 4, 1, 2)
        for job in ask(catalog, begin(catalog), [FREE], limit=limit)
    ]
    assert order == list("abcd") * 3


def test_postponed_platform_video_waits(catalog: Catalog, clock: Clock) -> None:
    catalog.add(tubes(1))
    run_id = begin(catalog)
    [job] = ask(catalog, run_id, [A])
    later = clock.now + 30
    catalog.record_video_failure(run_id, put_off(job, later, policy=Policy.RETRY))
    assert ask(catalog, run_id, [FREE]) == []
    assert catalog.rate_limited_at(fingerprint="f1", identities=[FREE]) == (None, later)
    assert catalog.next_try_at(fingerprint="f1") is None
    clock.now = later
    assert [again.key for again in ask(catalog, run_id, [FREE])] == [job.key]


def test_retained_copy_needs_no_grant(catalog: Catalog) -> None:
    catalog.add(tubes(2))
    run_id = begin(catalog)
    one, _ = ask(catalog, run_id, [A])
    media = MediaRecord(sha256="0", bytes=500, duration_seconds=9.0)
    catalog.record_media(run_id, one.key, media)
    assert catalog.media_room().under_way_bytes > 500  # the other video may be in progress
    catalog.record_retained(run_id, one.key, "/media/one.mp4")
    catalog.record_retained(run_id, one.key, "/media/one.mp4")
    assert catalog.media_room().retained_bytes == 500
    under_way = catalog.media_room().under_way_bytes
    catalog.record_media(run_id, one.key, media)
    assert catalog.media_room().under_way_bytes == under_way, "what is kept is not counted twice"
    catalog.end_run(run_id, "ended")
    assert catalog.media_room().under_way_bytes == 0
    again = begin(catalog)
    [job] = catalog.claim(again, limit=9)
    assert (job.key, job.media_uri, job.identity) == (one.key, "/media/one.mp4", "")
    catalog.forget_retained(again, one.key)
    assert catalog.media_room().retained_bytes == 0
    catalog.end_run(again, "ended")
    assert catalog.claim(begin(catalog), limit=9) == []


def test_clock_set_back_gives_no_extra_budget(catalog: Catalog, clock: Clock) -> None:
    identity = Identity("a", videos_per_hour=1)
    catalog.add(tubes(3))
    run_id = begin(catalog)
    [job] = ask(catalog, run_id, [identity])
    catalog.settle(run_id, job.key, HAD)
    clock.sleep(-1800)
    assert ask(catalog, run_id, [identity]) == []


def test_reading_egress_changes_nothing(catalog: Catalog) -> None:
    [state] = catalog.egress([A], "youtube")
    assert (state.videos, state.paused_until, state.in_progress) == (0, None, 0)
    assert catalog.rate_limited_at(fingerprint="f1", identities=[A]) == (None, None)


@pytest.mark.parametrize("query", ["", "q" * 5000, "ش" * 300, "🎬" * 300])
def test_every_query_gets_a_turn(catalog: Catalog, query: str) -> None:
    catalog.add([*tubes(2, query="z"), tube("a", query=query), tube("b", query=query)])
    jobs = ask(catalog, begin(catalog), [FREE], limit=4)
    assert len(jobs) == 4
    assert {job.video.query for job in jobs[:2]} == {query, "z"}


def test_grant_log_is_bounded(catalog: Catalog, clock: Clock, url: str, rows: Callable[[str], int]) -> None:
    catalog.add(tubes(60))
    run_id = begin(catalog)
    for _ in range(40):
        for job in ask(catalog, run_id, [FREE], limit=1):
            catalog.settle(run_id, job.key, HAD)
        clock.sleep(3600)
        catalog.heartbeat(run_id)
    assert rows("grants") <= 26


@pytest.fixture
def rows(url: str) -> Callable[[str], int]:
    """Number of rows of a table, read directly from the database."""

    def count(table: str) -> int:
        if url.startswith("sqlite"):
            with sqlite3.connect(url.removeprefix("sqlite:///")) as connection:
                return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608
        import psycopg

        with psycopg.connect(url) as server:
            row = server.execute(f"SELECT count(*) FROM {table}".encode()).fetchone()  # noqa: S608
            return int(row[0]) if row else 0

    return count
