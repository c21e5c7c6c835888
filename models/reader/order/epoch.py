"""The order of one epoch: shards are permuted, and samples are shuffled inside windows.

The permuted shards are cut into pieces of PIECE_SAMPLES samples, and the pieces of each group of SPAN_SHARDS
neighbouring shards are permuted. The result is shuffled in windows. So a window mixes samples of many shards
but opens only a few, whether a shard holds a hundred samples or a million. Each window is computed
independently: no position depends on earlier reads.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import numpy.typing as npt

from mien.models.reader.order.rng import permutation, words

Int64 = npt.NDArray[np.int64]

VERSION = 1
"""Version of this algorithm. A state of another version cannot be continued."""
PIECE_SAMPLES = 512
SPAN_SHARDS = 8
_CACHED_WINDOWS = 4


class EpochOrder:
    """`counts` (shards,): samples read from each shard. `purpose`: everything that the order depends on.
    `window`: samples that are shuffled together; 0 keeps the stored order."""

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
        """The position at which each piece ends."""
        self._recent: OrderedDict[int, Int64] = OrderedDict()

    def __len__(self) -> int:
        return self._count

    def ordinals(self, start: int, stop: int) -> Int64:
        """(stop - start,) the number of the sample at each position in [start, stop), counted over all
        shards."""
        if not self._window:
            return self._unshuffled(start, stop)
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
            ordinals = self._unshuffled(start, min(start + self._window, self._count))
            found = ordinals[permutation(len(ordinals), "window", number, *self._purpose)]
            self._recent[number] = found
            while len(self._recent) > _CACHED_WINDOWS:
                self._recent.popitem(last=False)
        return found

    def _unshuffled(self, start: int, stop: int) -> Int64:
        """The same before windows are shuffled."""
        positions = np.arange(start, stop, dtype=np.int64)
        piece = np.searchsorted(self._ends, positions, side="right")
        length_before = np.where(piece > 0, self._ends[piece - 1], 0)
        return np.asarray(self._starts[piece] + positions - length_before, np.int64)
