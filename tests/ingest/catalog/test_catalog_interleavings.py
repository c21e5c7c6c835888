"""Two runs claim, commit, fail, sleep and die in any order; each segment counts at most once."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from mien.ingest.catalog import Catalog
from mien.ingest.errors import LeaseLostError, Policy
from tests.ingest.catalog.makers import (
    LEASE_SECONDS,
    Clock,
    begin,
    ref,
    segment,
    segment_failure,
    shard,
    video_failure,
)

SEGMENTS = 3
VIDEOS = "abc"

runs = st.integers(0, 1)
names = st.sampled_from(VIDEOS)
starts = st.sampled_from(range(0, 60 * SEGMENTS, 60))
places = st.lists(st.tuples(names, starts), min_size=1, max_size=4, unique=True)


class TwoRuns(RuleBasedStateMachine):
    new_url: ClassVar[Callable[[], str]]

    @initialize()
    def open(self) -> None:
        self.clock = Clock()
        self.catalog = Catalog.open(type(self).new_url(), clock=self.clock)
        self.catalog.add(ref(name) for name in VIDEOS)
        self.runs = [begin(self.catalog), begin(self.catalog)]
        self.shards = 0
        self.committed: set[str] = set()
        """Commits that the catalog accepted."""

    def teardown(self) -> None:
        if hasattr(self, "catalog"):
            self.catalog.close()

    @rule(run=runs, limit=st.integers(1, 3))
    def claim(self, run: int, limit: int) -> None:
        try:
            jobs = self.catalog.claim(self.runs[run], limit=limit)
        except LeaseLostError:
            self.runs[run] = begin(self.catalog)
            return
        for job in jobs:
            ends = {key for key in self.committed if key.startswith(job.key)}
            assert ends <= {f"{job.key}-{start_ms:09d}" for start_ms in job.done_starts_ms}

    @rule(run=runs, where=places)
    def commit(self, run: int, where: list[tuple[str, int]]) -> None:
        records = [segment(name, start, samples=1, fate="kept") for name, start in where]
        self.shards += 1
        name = f"s{self.shards}"
        try:
            self.catalog.commit_shard(self.runs[run], shard(name, self.runs[run]), records)
        except LeaseLostError as error:
            assert error.lost
            assert error.lost <= {record.key for record in records}
            assert name not in self.catalog.shard_names()
            return
        assert not self.committed & {record.key for record in records}
        self.committed |= {record.key for record in records}

    @rule(run=runs, name=names, start=starts)
    def drop(self, run: int, name: str, start: int) -> None:
        record = segment(name, start)
        try:
            self.catalog.record_done(self.runs[run], [record])
        except LeaseLostError:
            return
        self.committed.add(record.key)

    @rule(run=runs, name=names, start=starts)
    def fail_segment(self, run: int, name: str, start: int) -> None:
        self._try(lambda: self.catalog.record_segment_failure(self.runs[run], segment_failure(name, start)))

    @rule(run=runs, name=names, policy=st.sampled_from(Policy))
    def fail_video(self, run: int, name: str, policy: Policy) -> None:
        failure = video_failure(name, policy=policy, again=self.clock() + 5)
        self._try(lambda: self.catalog.record_video_failure(self.runs[run], failure))

    @rule(run=runs, name=names)
    def split(self, run: int, name: str) -> None:
        self._try(lambda: self.catalog.record_split(self.runs[run], f"folder-{name}", SEGMENTS))

    @rule(seconds=st.sampled_from([1.0, 10.0, LEASE_SECONDS + 1]))
    def sleep(self, seconds: float) -> None:
        self.clock.sleep(seconds)

    @rule(run=runs)
    def heartbeat(self, run: int) -> None:
        self._try(lambda: self.catalog.heartbeat(self.runs[run]))

    @rule(run=runs)
    def end(self, run: int) -> None:
        self.catalog.end_run(self.runs[run], "ended")

    @rule()
    def retry(self) -> None:
        self.catalog.retry()

    @invariant()
    def reported_results_hold(self) -> None:
        if not hasattr(self, "catalog"):
            return
        histories = [history for name in VIDEOS if (history := self.catalog.explain(f"folder-{name}"))]
        done = [part for history in histories for part in history.segments if part.state == "done"]
        assert {part.key for part in done} == self.committed
        status = self.catalog.status()
        parts = [part for history in histories for part in history.segments]
        for fate in ("kept", "no_face", "failed"):
            expected = sum(part.seconds_by_fate.get(fate, 0.0) for part in parts)
            assert status.seconds_by_fate.get(fate, 0.0) == expected
        assert status.segments["done"] == len(done)
        assert {part.shard for part in done if part.shard} == self.catalog.shard_names()
        for history in histories:
            assert (history.state == "running") == (history.run_id is not None)
            if history.state in ("done", "partial"):
                assert len(history.segments) == history.segment_count == SEGMENTS
                assert (history.state == "done") == all(part.state == "done" for part in history.segments)

    def _try(self, write: Callable[[], None]) -> None:
        """A refusal is allowed; the invariant checks what it must not change."""
        try:
            write()
        except LeaseLostError as error:
            assert str(error)


@pytest.mark.slow
def test_interleaved_runs_commit_segments_once(new_url: Callable[[], str]) -> None:
    machine = type("TwoRunsHere", (TwoRuns,), {"new_url": staticmethod(new_url)})
    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=60,
            stateful_step_count=25,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
