"""The order of one epoch: shards permuted, and samples shuffled inside windows that span several of them.

Permuted shards are cut into pieces of PIECE_SAMPLES, the pieces of SPAN_SHARDS neighbouring shards are
permuted, and what this gives is shuffled in windows. So a window draws from many shards and yet touches few,
whether a shard holds a hundred samples or a million. Any window is computed alone: no position depends on
what was read before it.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from mien.models.reader.order.rng import permutation, words

Int64 = npt.NDArray[np.int64]

VERSION = 1
"""Of this algorithm: a state of another one cannot be continued."""
PIECE_SAMPLES = 512
SPAN_SHARDS = 8
_REMEMBERED = 4


class EpochOrder:
    """`counts` (shards,): how many samples each shard gives. `purpose`: all that the order depends on.
    `window`: samples that are shuffled together; 0 leaves everything as it lies."""

    def __init__(self, counts: Int64, window: int, *purpose: str | int) -> None:
        self._window, self._purpose = window, purpose
        first = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        self._count = int(first[-1])
        shards = permutation(len(counts), "shards", *purpose) if window else np.arange(len(counts))
        pieces_of = -(-counts[shards] // PIECE_SAMPLES)
        owner = np.repeat(np.arange(len(shards)), pieces_of)
        nth = np.arange(len(owner)) - np.repeat(np.cumsum(pieces_of) - pieces_of, pieces_of)
        starts = first[shards[owner]] + nth * PIECE_SAMPLES
        lengths = np.minimum(PIECE_SAMPLES, first[shards[owner] + 1] - starts)
        if window:
            order = np.lexsort((words(len(owner), "pieces", *purpose), owner // SPAN_SHARDS))
            starts, lengths = starts[order], lengths[order]
        self._starts: Int64 = starts.astype(np.int64)
        self._ends: Int64 = np.cumsum(lengths).astype(np.int64)
        """Positions at which each piece ends."""
        self._recent: OrderedDict[int, Int64] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def ordinals(self, start: int, stop: int) -> Int64:
        """(stop - start,) which sample, counted through the shards, is at each position in [start, stop)."""
        if not self._window:
            return self._laid(start, stop)
        parts = []
        while start < stop:
            number, offset = divmod(start, self._window)
            shuffled = self._shuffled(number)
            end = min(stop, number * self._window + len(shuffled))
            parts.append(shuffled[offset : offset + end - start])
            start = end
        return np.concatenate(parts) if parts else np.zeros(0, np.int64)

    def _shuffled(self, number: int) -> Int64:
        found = self._recent.get(number)
        if found is None:
            start = number * self._window
            laid = self._laid(start, min(start + self._window, self._count))
            found = laid[permutation(len(laid), "window", number, *self._purpose)]
            self._recent[number] = found
            while len(self._recent) > _REMEMBERED:
                self._recent.popitem(last=False)
        return found

    def _laid(self, start: int, stop: int) -> Int64:
        """The same before windows are shuffled."""
        positions = np.arange(start, stop, dtype=np.int64)
        piece = np.searchsorted(self._ends, positions, side="right")
        length_before = np.where(piece > 0, self._ends[piece - 1], 0)
        return np.asarray(self._starts[piece] + positions - length_before, np.int64)
