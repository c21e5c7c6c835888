"""Where each worker writes what it is about, so that its parent can say what it waits for."""

from __future__ import annotations

import mmap
import os
import time

import numpy as np

_ROW = np.dtype([("corpus", "<i8"), ("sample", "<i8"), ("since", "<f8")])
DECODING = (-1, -1)
IDLE = (-2, -2)


class WorkerStatus:
    """A row a worker, in shared memory. Torn reads are of no consequence: it is only ever shown."""

    def __init__(self, descriptor: int, workers: int) -> None:
        os.ftruncate(descriptor, workers * _ROW.itemsize)
        self._rows = np.frombuffer(mmap.mmap(descriptor, workers * _ROW.itemsize), _ROW)

    def write(self, worker: int, corpus: int, sample: int) -> None:
        self._rows[worker] = (corpus, sample, time.monotonic())

    def close(self) -> None:
        self._rows = self._rows[:0].copy()  # the mapping has a descriptor of its own

    def read(self, worker: int) -> tuple[int, int, float]:
        """(corpus, sample, seconds since)."""
        corpus, sample, since = self._rows[worker].tolist()
        return corpus, sample, time.monotonic() - since if since else 0.0
