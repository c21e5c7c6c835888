"""Which sample of which corpus is at each position of each epoch."""

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
    """(N,) which corpus"""
    ordinals: Int64
    """(N,) the how-manieth of its kept samples"""
    passes: Int64
    """(N,) how often the corpus was gone through before: the sample's own epoch"""


class Plan(Protocol):
    def __len__(self) -> int:
        """Positions of an epoch."""
        ...

    def choose(self, epoch: int, start: int, stop: int) -> Chosen:
        """The samples at the positions [start, stop) of `epoch`, in time that does not grow with `start`."""
        ...


class Orders:
    """The few epochs' orders that are in use, computed once each."""

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
    """Every sample of every corpus once an epoch, all of them shuffled as if they were one."""

    def __init__(self, counts: Sequence[Int64], window: int, *purpose: str | int) -> None:
        """`counts`: of each corpus, samples a shard."""
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
"""Positions in which every corpus has exactly its share; shares are rounded to 1 / BLOCK."""

MOST_CORPORA = BLOCK // 16


class MixedPlan:
    """Corpora by weight.

    Each corpus is a stream of its own that never ends: pass after pass through all of its samples, each pass
    in another order. Of every BLOCK positions a corpus has its share, in places that are shuffled. An epoch
    is as many positions as the corpora have samples together; the next one goes on where it ended, in each
    corpus too. So a small corpus with a great weight comes several times an epoch, a great one with a small
    weight is gone through in several epochs, and either is always gone through evenly.
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
            # The how-manieth of its corpus each place is: those before in the stream, and in the block.
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
                these = mine[passes[mine] == number]  # of one pass, and there in one run
                first, last = int(at[these[0]]), int(at[these[-1]])
                ordinals[these] = orders.epoch(int(number)).ordinals(first, last + 1)
        return Chosen(corpora, ordinals, passes)

    def _pattern(self, block: int) -> Int64:
        if self._recent is None or self._recent[0] != block:
            sorted_ = np.repeat(np.arange(len(self._shares), dtype=np.int64), self._shares)
            shuffled: Int64 = sorted_[permutation(BLOCK, "mixture", block, *self._purpose)]
            self._recent = block, shuffled
            return shuffled
        remembered: Int64 = self._recent[1]
        return remembered


def _shares(weights: Sequence[float]) -> Int64:
    """Places of each corpus in a block, at least one, BLOCK together: by largest remainder."""
    exact = np.asarray(weights, np.float64) / np.sum(weights) * BLOCK
    shares: Int64 = np.maximum(1, np.floor(exact)).astype(np.int64)
    by_need = np.argsort(-(exact - shares), kind="stable")
    missing = BLOCK - int(shares.sum())
    for turn in range(abs(missing)):
        # Too many were given out only to corpora that were to have less than one place.
        chosen = by_need[turn % len(by_need)] if missing > 0 else np.argmax(shares)
        shares[chosen] += 1 if missing > 0 else -1
    return shares
