"""Samples laid at their places on one time line, given out in blocks of equal length."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from mien.pipelines.data import Int16


class AudioTimeline:
    """Silence where nothing was put; what comes first stays; nothing before 0 or after the end."""

    def __init__(self, *, total_samples: int, block_samples: int) -> None:
        self._total = total_samples
        self._block_samples = block_samples
        self._block = self._fresh(0)
        self._block_start = 0
        self._filled = 0

    def put(self, position: int, samples: Int16) -> Iterator[Int16]:
        """Lays `samples` (N,) at `position`, and yields the blocks that are complete."""
        samples = samples[max(0, self._filled - position) :]
        position = max(position, self._filled)
        samples = samples[: max(0, self._total - position)]
        while len(samples):
            at = position - self._block_start
            room = len(self._block) - at
            if room <= 0:
                yield self._turn()
                continue
            taken = min(room, len(samples))
            self._block[at : at + taken] = samples[:taken]
            position += taken
            self._filled = position
            samples = samples[taken:]

    def finish(self) -> Iterator[Int16]:
        """The rest, silence up to the end."""
        while len(self._block):
            yield self._turn()

    def _turn(self) -> Int16:
        block = self._block
        self._block_start += len(block)
        self._block = self._fresh(self._block_start)
        return block

    def _fresh(self, start: int) -> Int16:
        return np.zeros(min(self._block_samples, self._total - start), dtype=np.int16)
