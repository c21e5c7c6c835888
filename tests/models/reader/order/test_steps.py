"""The samples of each rank and step, for any number of ranks, batch size, tail policy and start."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import chain

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mien.ingest.errors import UsageError
from mien.models.reader.order.plan import Plan, WholePlan
from mien.models.reader.order.steps import Cursor, Step, Steps, Tail

START = Cursor(0, 0)


@dataclass(frozen=True)
class Case:
    plan: Plan
    batch: int
    tail: Tail

    def steps(self, rank: int, world: int) -> Steps:
        return Steps(plan=self.plan, global_batch=self.batch, rank=rank, world=world, tail=self.tail)

    def walk(self, world: int, cursor: Cursor, count: int) -> list[list[Step]]:
        """The next `count` global steps, each as a list of the ranks' parts."""
        ranks = [self.steps(rank, world) for rank in range(world)]
        cursor = ranks[0].normalize(cursor)
        walked = []
        for _ in range(count):
            walked.append([rank.step(cursor) for rank in ranks])
            assert len({step.after for step in walked[-1]}) == 1, "every rank continues at the same position"
            cursor = walked[-1][0].after
        return walked


@st.composite
def cases(draw: st.DrawFn) -> Case:
    counts = draw(st.lists(st.integers(0, 60), min_size=1, max_size=6).filter(lambda c: sum(c) > 6))
    tail: Tail = draw(st.sampled_from(["drop", "pad", "carry"]))
    most = sum(counts) if tail == "drop" else sum(counts) * 2 + 5
    plan = WholePlan([np.array(counts, np.int64)], draw(st.sampled_from([0, 5, 4096])), 7, "manifest")
    return Case(plan, draw(st.integers(7, most)), tail)


WORLDS = st.integers(1, 7)


def taken(steps: list[Step], *, only_valid: bool = True) -> list[tuple[int, int]]:
    """(epoch, sample) of all ranks in order."""
    return [
        (int(turn), int(ordinal))
        for step in steps
        for turn, ordinal, valid in zip(step.chosen.passes, step.chosen.ordinals, step.valid, strict=True)
        if valid or not only_valid
    ]


def order(case: Case, epoch: int) -> list[tuple[int, int]]:
    return [(epoch, int(n)) for n in case.plan.choose(epoch, 0, len(case.plan)).ordinals]


@given(cases(), WORLDS)
def test_epochs_follow_tail_policy(case: Case, world: int) -> None:
    length, batch = len(case.plan), case.batch
    walked = case.walk(world, START, 3 * (length // batch + 1))
    by_epoch: dict[int, list[tuple[int, int]]] = {}
    for steps in walked:
        by_epoch.setdefault(steps[0].cursor.epoch, []).extend(taken(steps))

    if case.tail == "carry":
        stream = list(chain.from_iterable(by_epoch.values()))
        expected = list(chain.from_iterable(order(case, epoch) for epoch in range(len(walked) * batch)))
        assert stream == expected[: len(stream)]
        return
    for epoch in list(by_epoch)[:-1]:
        whole = order(case, epoch)
        assert by_epoch[epoch] == (whole if case.tail == "pad" else whole[: length // batch * batch])


@given(cases(), WORLDS)
def test_ranks_partition_global_order(case: Case, world: int) -> None:
    count = 2 * (len(case.plan) // case.batch + 1)

    for alone, shared in zip(case.walk(1, START, count), case.walk(world, START, count), strict=True):
        assert taken(alone, only_valid=False) == taken(shared, only_valid=False)
        assert [v for step in alone for v in step.valid] == [v for step in shared for v in step.valid]
        sizes = [len(step.valid) for step in shared]
        assert sum(sizes) == case.batch
        assert max(sizes) - min(sizes) <= 1


@given(cases(), WORLDS, WORLDS, st.data())
def test_any_world_resumes_at_any_step(case: Case, before: int, after: int, data: st.DataObject) -> None:
    count = 3 * (len(case.plan) // case.batch + 1)
    undisturbed = [taken(steps) for steps in case.walk(1, START, count)]
    at = data.draw(st.integers(0, count - 1))
    cursor = case.walk(before, START, at)[-1][0].after if at else START

    assert [taken(steps) for steps in case.walk(after, cursor, count - at)] == undisturbed[at:]


@given(cases())
def test_step_count_is_exact(case: Case) -> None:
    steps = case.steps(0, 1)
    cursor = steps.normalize(START)
    walked = 0
    while cursor.epoch == 0:
        cursor = steps.step(cursor).after
        walked += 1

    assert walked == steps.count(START)


@given(cases())
def test_epoch_end_is_next_epoch_start(case: Case) -> None:
    steps = case.steps(0, 1)
    end = Cursor(4, len(case.plan))

    assert steps.normalize(end) == (5, 0)
    assert steps.normalize(steps.normalize(end)) == steps.normalize(end)


@pytest.mark.parametrize(
    ("batch", "rank", "world", "tail"),
    [(2, 0, 3, "pad"), (5, 3, 3, "pad"), (50, 0, 1, "drop"), (5, 0, 1, "x")],
)
def test_rejects_ranks_without_samples(batch: int, rank: int, world: int, tail: Tail) -> None:
    plan = WholePlan([np.array([40])], 16, 7)
    with pytest.raises(UsageError):
        Steps(plan=plan, global_batch=batch, rank=rank, world=world, tail=tail)
