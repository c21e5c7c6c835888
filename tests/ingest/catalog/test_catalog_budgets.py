"""No hour exceeds the budget, whatever runs do, how they die, and what they report."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from mien.ingest.catalog import Catalog, Outcome, Usage
from mien.ingest.catalog.listings import IN_PROGRESS_SECONDS
from mien.ingest.media import Job
from mien.ingest.rate.egress_state import FIRST_BYTES, FIRST_REQUESTS
from mien.ingest.rate.governor import PAGE_BYTES, WINDOW_SECONDS
from mien.ingest.rate.identity import Identity
from tests.ingest.catalog.makers import LEASE_SECONDS, Clock
from tests.ingest.catalog.platforms import ask, put_off, tubes


def begin_for_ever(catalog: Catalog) -> str:
    return catalog.begin_run(fingerprint="f1", config_json="{}", host="here", lease_seconds=1e9)


STEADY = (int(FIRST_REQUESTS), int(FIRST_BYTES))


@dataclass(eq=False)
class QueryResult:
    """A video or page as the platform saw it: requested at some time between `began` and `ended`."""

    identity: str
    began: float
    is_probe: bool
    job: Job | None = None
    run: int = -1
    page: int = 0
    """Number of its grant."""
    videos: int = 1
    ended: float = math.inf
    requests: int = STEADY[0]
    bytes: int = STEADY[1]
    is_known: bool = False


@dataclass
class World:
    """Two drivers of one catalog, a platform that records requests, and a clock."""

    catalog: Catalog
    clock: Clock
    identities: list[Identity]
    runs: list[str] = field(default_factory=list)
    asked: list[QueryResult] = field(default_factory=list)
    pauses: dict[str, float] = field(default_factory=dict)

    def under_way(self) -> list[QueryResult]:
        return [one for one in self.asked if one.ended == math.inf and one.job is not None]

    def pages(self) -> list[QueryResult]:
        """Requests that are not settled and not too old to be in progress."""
        pages = [one for one in self.asked if one.job is None and not one.is_known]
        return [page for page in pages if page.ended > self.clock.now]

    def of(self, identity: Identity) -> list[QueryResult]:
        return [one for one in self.asked if one.identity == identity.name]

    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    def claim(self, run: int, limit: int) -> None:
        jobs = ask(self.catalog, self.runs[run], self.identities, limit=limit)
        for job in jobs:
            pause = self.pauses.get(job.identity)
            assert pause is None or self.clock.now >= pause
            self.asked.append(
                QueryResult(job.identity, self.clock.now, is_probe=pause is not None, job=job, run=run)
            )
        self.check_granted({job.identity for job in jobs})

    def check_granted(self, names: set[str]) -> None:
        for name in names:
            going = [*self.under_way(), *self.pages()]
            assert len([one for one in going if one.identity == name and one.is_probe]) <= 1
        self.check_charges(names)

    def list_page(self, which: int, is_first: bool) -> None:
        """Requests one more page of a list, outside a run."""
        identity = self.identities[which % len(self.identities)]
        given = self.catalog.grant_page(identity, "youtube", is_first=is_first)
        pause = self.pauses.get(identity.name)
        if given.number is None:
            assert given.room_at > self.clock.now
            return
        assert pause is None or self.clock.now >= pause
        page = QueryResult(
            identity.name,
            self.clock.now,
            is_probe=pause is not None,
            page=given.number,
            ended=self.clock.now + IN_PROGRESS_SECONDS,
            videos=int(is_first),
            requests=1,
            bytes=min(PAGE_BYTES, identity.bytes_per_hour or PAGE_BYTES),
        )
        self.asked.append(page)
        self.check_granted({identity.name})

    def list_pages(self, which: int, count: int) -> None:
        """Like a search: asks again at the given time."""
        for number in range(count):
            identity = self.identities[which % len(self.identities)]
            given = self.catalog.egress([identity], "youtube")[0]
            if given.room_at > self.clock.now + 2 * WINDOW_SECONDS:
                return
            self.sleep(max(0.0, given.room_at - self.clock.now))
            self.list_page(which, number == 0)
            for page in self.pages():
                self.end_page(page, Outcome.SUCCEEDED, 0)

    def listed(self, which: int, outcome: Outcome, size: int) -> None:
        if going := self.pages():
            self.end_page(going[which % len(going)], outcome, size)

    def end_page(self, page: QueryResult, outcome: Outcome, size: int) -> None:
        (identity,) = [each for each in self.identities if each.name == page.identity]
        page.ended, page.is_known = self.clock.now, True
        page.bytes = size
        usage = Usage(outcome=outcome, requests=1, bytes=size, error_class="RateLimitedError")
        self.catalog.settle_page(page.page, identity, usage)
        [state] = self.catalog.egress([identity], "youtube")
        if state.paused_until is None:
            self.pauses.pop(identity.name, None)
        else:
            self.pauses[identity.name] = state.paused_until

    def fill(self, run: int, count: int) -> None:
        """Like a run: asks again at the given time."""
        for _ in range(count):
            due, _ = self.catalog.rate_limited_at(fingerprint="f1", identities=self.identities)
            if due is None or due > self.clock.now + 2 * WINDOW_SECONDS:
                return
            self.sleep(max(0.0, due - self.clock.now))
            self.claim(run, 1)

    def check_charges(self, granted: set[str]) -> None:
        """The charge is at least the reported usage, and within the budget at each grant."""
        for identity, state in zip(
            self.identities, self.catalog.egress(self.identities, "youtube"), strict=True
        ):
            since = self.clock.now - WINDOW_SECONDS
            known = [one for one in self.of(identity) if one.is_known and one.ended > since]
            assert state.requests >= sum(one.requests for one in known)
            assert state.bytes >= sum(one.bytes for one in known)
            if identity.name in granted:
                assert state.videos <= (identity.videos_per_hour or math.inf)
                assert state.requests <= (identity.requests_per_hour or math.inf)
                assert state.bytes <= (identity.bytes_per_hour or math.inf)

    def report(self, which: int, outcome: Outcome, requests: int, size: int) -> None:
        if not (going := self.under_way()):
            return
        one = going[which % len(going)]
        assert one.job is not None
        one.ended = self.clock.now
        if requests or size:
            one.requests, one.bytes, one.is_known = requests, size, True
        usage = Usage(outcome=outcome, requests=requests, bytes=size, error_class="BotWallError")
        paused = self.catalog.settle(self.runs[one.run], one.job.key, usage)
        self.catalog.record_video_failure(self.runs[one.run], put_off(one.job, self.clock.now))
        if paused is not None:
            self.pauses[one.identity] = paused.until
        elif outcome is Outcome.SUCCEEDED and one.is_probe:
            self.pauses.pop(one.identity, None)

    def crash(self, run: int) -> None:
        """The driver and its actors die together; another driver starts when that is known."""
        for one in self.under_way():
            if one.run == run:
                one.ended = self.clock.now
        dead = self.runs[run]
        self.sleep(LEASE_SECONDS)
        self.catalog.end_dead_runs({dead})
        self.runs[run] = begin_for_ever(self.catalog)

    def check_windows(self, *, is_steady: bool) -> None:
        """Counts like the platform: all requests that may fall into the hour before each grant. The hour with
        the most requests ends with a grant."""
        for identity in self.identities:
            asked = self.of(identity)
            for position, last in enumerate(asked):
                hour = [one for one in asked[: position + 1] if one.ended > last.began - WINDOW_SECONDS]
                assert sum(one.videos for one in hour) <= (identity.videos_per_hour or math.inf)
                if is_steady:  # no request exceeds its reserve, so these limits hold strictly as well
                    requests, size = sum(one.requests for one in hour), sum(one.bytes for one in hour)
                    assert (
                        requests <= max(identity.requests_per_hour, STEADY[0])
                        or not identity.requests_per_hour
                    )
                    assert size <= max(identity.bytes_per_hour, STEADY[1]) or not identity.bytes_per_hour


outcomes = st.sampled_from([Outcome.SUCCEEDED] * 2 + [Outcome.FAILED, Outcome.REFUSED])
steps = st.one_of(
    st.tuples(st.just("sleep"), st.sampled_from([1.0, 20.0, 300.0, 1000.0, 3599.0, 3601.0])),
    st.tuples(st.just("claim"), st.integers(0, 1), st.integers(1, 9)),
    st.tuples(st.just("fill"), st.integers(0, 1), st.integers(1, 6)),
    st.tuples(st.just("fill"), st.integers(0, 1), st.integers(1, 6)),
    st.tuples(st.just("report"), st.integers(0, 99), outcomes, st.integers(0, 50), st.integers(0, 10**8)),
    st.tuples(st.just("report"), st.integers(0, 99), outcomes, st.integers(0, 50), st.integers(0, 10**8)),
    st.tuples(st.just("list_page"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("list_pages"), st.integers(0, 1), st.integers(1, 9)),
    st.tuples(st.just("listed"), st.integers(0, 99), outcomes, st.integers(0, 10**7)),
    st.tuples(st.just("crash"), st.integers(0, 1)),
)
budgets = st.tuples(
    st.sampled_from([0, 1, 2, 3, 12, 60]),
    st.sampled_from([0, 0, 5, 100]),
    st.sampled_from([0, 0, 10**7, 10**9]),
)


@pytest.mark.slow
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(budgets, min_size=1, max_size=2), st.booleans(), st.lists(steps, min_size=10, max_size=40))
def test_no_window_exceeds_the_budget(
    limits: list[tuple[int, int, int]], is_steady: bool, script: list[tuple[Any, ...]]
) -> None:
    identities = [
        Identity(f"i{number}", videos_per_hour=videos, requests_per_hour=requests, bytes_per_hour=size)
        for number, (videos, requests, size) in enumerate(limits)
    ]
    clock = Clock()
    with (
        tempfile.TemporaryDirectory() as folder,
        Catalog.open(f"sqlite:///{Path(folder)}/catalog.db", clock=clock) as catalog,
    ):
        catalog.add([*tubes(30, query="big"), *tubes(5, query="small")])
        world = World(catalog, clock, identities, runs=[begin_for_ever(catalog), begin_for_ever(catalog)])
        for name, *arguments in script:
            if name == "report" and is_steady:
                arguments[2:] = STEADY
            if name == "listed" and is_steady:
                arguments[2:] = [0]
            getattr(world, name)(*arguments)
        world.check_windows(is_steady=is_steady)
