"""Which sample of which corpus is at each position of each epoch, for unweighted and weighted corpora."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mien.models.reader.order.epoch import EpochOrder, Int64
from mien.models.reader.order.rng import permutation


@dataclass(frozen=True, slots=True)
class Chosen:
    """Samples in the order of their positions."""

    corpora: Int64
    """(N,) numbers of the corpora"""
    ordinals: Int64
    """(N,) numbers among the corpus' samples that pass the filter"""
    passes: Int64
    """(N,) completed passes through the corpus: the sample's own epoch"""


class Plan(Protocol):
    def __len__(self) -> int:
        """Positions of an epoch."""
        ...

    def choose(self, epoch: int, start: int, stop: int) -> Chosen:
        """The samples at the positions [start, stop) of `epoch`. The time does not depend on `start`."""
        ...


class Orders:
    """Caches the orders of the few epochs in use."""

    def __init__(self, counts: Int64, window: int, *purpose: str | int) -> None:
        self._counts, self._window, self._purpose = counts, window, purpose
        self._recent: OrderedDict[int, EpochOrder] = OrderedDict()

    def epoch(self, number: int) -> EpochOrder:
        found = self._recent.get(number)
        if found is None:
            found = self._recent[number] = EpochOrder(self._counts, self._window, number, *self._purpose)
            while len(self._recent) > 2:
                self._recent.popitem(last=False)
        return found


class WholePlan:
    """Every sample of every corpus once per epoch, shuffled as if all corpora were one."""

    def __init__(self, counts: Sequence[Int64], window: int, *purpose: str | int) -> None:
        """`counts`: samples of each shard, for each corpus."""
        totals = np.array([counted.sum() for counted in counts], np.int64)
        self._first = np.concatenate([[0], np.cumsum(totals)]).astype(np.int64)
        self._orders = Orders(np.concatenate(counts).astype(np.int64), window, *purpose)

    def __len__(self) -> int:
        return int(self._first[-1])

    def choose(self, epoch: int, start: int, stop: int) -> Chosen:
        ordinals = self._orders.epoch(epoch).ordinals(start, stop)
        corpora = np.searchsorted(self._first, ordinals, side="right").astype(np.int64) - 1
        return Chosen(corpora, ordinals - self._first[corpora], np.full(len(ordinals), epoch, np.int64))


BLOCK = 4096
"""Number of positions in which every corpus gets exactly its share. Shares are rounded to 1 / BLOCK."""

MAX_WEIGHTED = BLOCK // 16


class MixedPlan:
    """Corpora by weight.

    Each corpus is an endless stream: pass after pass through all of its samples, each pass in another order.
    In every BLOCK positions each corpus gets its share, at shuffled positions. An epoch has as many positions
    as the corpora have samples together, and the next epoch continues every stream where the last one
    stopped. So a small corpus with a large weight is repeated several times per epoch, and a large corpus
    with a small weight takes several epochs. Both are sampled evenly at all times.
    """

    def __init__(
        self, counts: Sequence[Int64], weights: Sequence[float], window: int, *purpose: str | int
    ) -> None:
        self._sizes = np.array([counted.sum() for counted in counts], np.int64)
        self._shares = _shares(weights)
        self._orders = [
            Orders(counted, window, "corpus", number, *purpose) for number, counted in enumerate(counts)
        ]
        self._purpose = purpose
        self._recent: tuple[int, Int64] | None = None

    def __len__(self) -> int:
        return int(self._sizes.sum())

    def choose(self, epoch: int, start: int, stop: int) -> Chosen:
        position, end = epoch * len(self) + start, epoch * len(self) + stop
        corpora, streamed = [], []
        while position < end:
            block, offset = divmod(position, BLOCK)
            pattern = self._pattern(block)
            upto = min(BLOCK, offset + end - position)
            part = pattern[offset:upto]
            # The position in its corpus' stream: samples in earlier blocks, then samples in this block.
            nth = block * self._shares[part]
            for corpus in range(len(self._shares)):
                mine = part == corpus
                nth[mine] += np.count_nonzero(pattern[:offset] == corpus) + np.arange(mine.sum())
            corpora.append(part)
            streamed.append(nth)
            position += upto - offset
        return self._placed(np.concatenate(corpora), np.concatenate(streamed))

    def _placed(self, corpora: Int64, streamed: Int64) -> Chosen:
        passes, at = np.divmod(streamed, self._sizes[corpora])
        ordinals = np.empty_like(at)
        for corpus, orders in enumerate(self._orders):
            mine = np.flatnonzero(corpora == corpus)
            for number in np.unique(passes[mine]):
                these = mine[passes[mine] == number]  # one pass, so these positions are consecutive
                first, last = int(at[these[0]]), int(at[these[-1]])
                ordinals[these] = orders.epoch(int(number)).ordinals(first, last + 1)
        return Chosen(corpora, ordinals, passes)

    def _pattern(self, block: int) -> Int64:
        if self._recent is None or self._recent[0] != block:
            sorted_ = np.repeat(np.arange(len(self._shares), dtype=np.int64), self._shares)
            shuffled: Int64 = sorted_[permutation(BLOCK, "mixture", block, *self._purpose)]
            self._recent = block, shuffled
            return shuffled
        cached: Int64 = self._recent[1]
        return cached


def _shares(weights: Sequence[float]) -> Int64:
    """Positions of each corpus in a block: at least one each, BLOCK together, by largest remainder."""
    exact = np.asarray(weights, np.float64) / np.sum(weights) * BLOCK
    shares: Int64 = np.maximum(1, np.floor(exact)).astype(np.int64)
    by_need = np.argsort(-(exact - shares), kind="stable")
    missing = BLOCK - int(shares.sum())
    for turn in range(abs(missing)):
        # `missing` is negative only if corpora with a share below one position were rounded up.
        chosen = by_need[turn % len(by_need)] if missing > 0 else np.argmax(shares)
        shares[chosen] += 1 if missing > 0 else -1
    return shares
