"""Weighted corpora get their shares, and each corpus is read evenly, pass after pass."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.models.reader.order.plan import BLOCK, Chosen, MixedPlan, WholePlan
from tests.hypothesis_examples import examples

SIZES = st.lists(st.lists(st.integers(1, 400), min_size=1, max_size=4), min_size=1, max_size=4)


def mixed(sizes: list[list[int]], weights: list[float], window: int = 16) -> MixedPlan:
    return MixedPlan([np.array(each, np.int64) for each in sizes], weights, window, 7, "m")


def rows(chosen: Chosen) -> list[tuple[int, int, int]]:
    return list(zip(chosen.corpora.tolist(), chosen.ordinals.tolist(), chosen.passes.tolist(), strict=True))


@settings(max_examples=examples(50))
@given(SIZES, st.data())
def test_each_corpus_is_read_in_passes(sizes: list[list[int]], data: st.DataObject) -> None:
    weights = [data.draw(st.floats(0.05, 20)) for _ in sizes]
    plan = mixed(sizes, weights)
    chosen = [row for epoch in range(4) for row in rows(plan.choose(epoch, 0, len(plan)))]

    for corpus, counts in enumerate(sizes):
        stream = [(turn, ordinal) for which, ordinal, turn in chosen if which == corpus]
        size = sum(counts)
        for number in range(0, len(stream) - size + 1, size):
            part = stream[number : number + size]
            assert {turn for turn, _ in part} == {number // size}
            assert sorted(ordinal for _, ordinal in part) == list(range(size))


@settings(max_examples=examples(50))
@given(SIZES, st.data())
def test_slices_agree_with_whole_order(sizes: list[list[int]], data: st.DataObject) -> None:
    weights = [data.draw(st.floats(0.05, 20)) for _ in sizes]
    length = sum(map(sum, sizes))
    epoch = data.draw(st.integers(0, 5))
    start = data.draw(st.integers(0, length))
    stop = data.draw(st.integers(start, length))
    if start == stop:
        return

    alone = rows(mixed(sizes, weights).choose(epoch, start, stop))
    assert alone == rows(mixed(sizes, weights).choose(epoch, 0, length))[start:stop]


def test_shares_follow_weights() -> None:
    plan = mixed([[5000], [20_000], [300]], [3.0, 1.0, 0.0001])
    drawn = Counter(plan.choose(0, 0, 4 * BLOCK).corpora.tolist())

    assert drawn[2] == 4, "even the smallest weight gets a position"
    assert drawn[0] == pytest.approx(3 * BLOCK, abs=8)


def test_unweighted_corpora_act_as_one() -> None:
    plan = WholePlan([np.array([30, 4]), np.array([0]), np.array([7])], 8, 1, "m")
    chosen = rows(plan.choose(2, 0, len(plan)))

    assert sorted((corpus, ordinal) for corpus, ordinal, _ in chosen) == [
        *((0, n) for n in range(34)),
        *((2, n) for n in range(7)),
    ]
    assert {turn for *_, turn in chosen} == {2}
