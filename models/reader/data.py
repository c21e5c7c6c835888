"""The nouns of reading, in the order in which data flows. No logic."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

Allocate = Callable[[str, tuple[int, ...], np.dtype[Any]], npt.NDArray[Any]]
"""(name, shape, dtype) to an uninitialised array in the batch's own memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RawSample:
    """A sample as its shard holds it."""

    key: str
    corpus: int
    """Which of the reader's corpora it comes from, counted from 0."""
    members: Mapping[str, memoryview | bytes]
    """Extension (without the key and its dot) to content. Read only. A view is of the page cache: it copies
    nothing, and keeps the shard mapped for as long as it lives."""
    row: Mapping[str, Any]
    """The sample's row of the index, without places; empty where a corpus has no index of ours."""
    seed: int
    """64 bits, a pure function of (reader's seed, epoch, key): for windows and augmentation, so that neither
    depends on who reads the sample."""


class Collate(Protocol):
    """Makes batches of samples. Picklable: workers get a copy."""

    @property
    def members(self) -> frozenset[str]:
        """Extensions that it reads, where the sample has them."""
        ...

    def batch(self, samples: Sequence[RawSample], allocate: Allocate) -> dict[str, Any]:
        """One entry a name: arrays from `allocate` (every element written), or whatever can be pickled.

        Raises DamagedSampleError, with the key of the sample that is at fault.
        """
        ...

    def one(self, sample: RawSample) -> dict[str, Any]:
        """A single sample, decoded. Raises DamagedSampleError."""
        ...
