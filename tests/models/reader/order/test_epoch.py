"""An epoch's order is a permutation whose parts can be computed separately, and it never changes."""

from __future__ import annotations

import hashlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mien.models.reader.order.epoch import PIECE_SAMPLES, SPAN_SHARDS, EpochOrder
from mien.models.reader.order.rng import permutation, sample_seed, words

COUNTS = st.lists(
    st.one_of(st.integers(0, 30), st.integers(0, 3 * PIECE_SAMPLES)), min_size=1, max_size=3 * SPAN_SHARDS
).filter(any)
WINDOWS = st.sampled_from([0, 1, 7, 64, 4096])


def order(counts: list[int], window: int, *purpose: str | int) -> EpochOrder:
    return EpochOrder(np.array(counts, np.int64), window, *purpose)


@given(COUNTS, WINDOWS, st.integers(0, 3))
def test_every_sample_comes_once(counts: list[int], window: int, epoch: int) -> None:
    made = order(counts, window, epoch, "seed")

    assert len(made) == sum(counts)
    assert sorted(made.ordinals(0, len(made)).tolist()) == list(range(sum(counts)))


@given(COUNTS, WINDOWS, st.data())
def test_slices_agree_with_whole_order(counts: list[int], window: int, data: st.DataObject) -> None:
    whole = order(counts, window, "x").ordinals(0, sum(counts))
    start = data.draw(st.integers(0, sum(counts)))
    stop = data.draw(st.integers(start, sum(counts)))

    assert order(counts, window, "x").ordinals(start, stop).tolist() == whole[start:stop].tolist()


def test_order_depends_on_epoch_seed_manifest() -> None:
    orders = [
        order([40] * 10, 100, *purpose).ordinals(0, 400).tolist()
        for purpose in [(0, 1, "m"), (1, 1, "m"), (0, 2, "m"), (0, 1, "n"), (0, 1, "m")]
    ]

    assert len({tuple(each) for each in orders}) == 4
    assert orders[0] == orders[-1]


def test_no_window_keeps_stored_order() -> None:
    assert order([3, 0, PIECE_SAMPLES + 5], 0).ordinals(0, PIECE_SAMPLES + 8).tolist() == list(
        range(PIECE_SAMPLES + 8)
    )


def test_window_mixes_few_shards() -> None:
    """Also if shards are large: a window from a single shard would hardly be shuffled."""
    size, shards, window = 16 * PIECE_SAMPLES, 64, 4096
    made = order([size] * shards, window, "seed")

    for first in range(0, len(made), window * 5):
        touched = {int(n) // size for n in made.ordinals(first, first + window)}
        assert 3 <= len(touched) <= SPAN_SHARDS * 2


def test_order_of_this_version_is_pinned() -> None:
    """A change here invalidates every saved state. In that case increase `epoch.VERSION`."""
    drawn = order([100, 700, 3, 0, 50] * 9, 256, 7, "manifest").ordinals(0, 7677)

    assert words(2, "a", 1).tolist() == [1276324099032739186, 12527165541128758455]
    assert permutation(8, "a", 1).tolist() == [0, 2, 6, 7, 1, 5, 4, 3]
    assert sample_seed(7, 1, "file-a") == 18322704250125490652
    assert hashlib.sha256(drawn.astype("<i8").tobytes()).hexdigest()[:16] == "108ae7bca19a8da5"
