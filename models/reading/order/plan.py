"""Which sample of which corpus is at each position of each epoch."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from mien.models.reading.order.epoch import EpochOrder, Int64


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
