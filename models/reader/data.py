"""Data types of the reader. No logic."""

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
    """A sample as its shard stores it, undecoded."""

    key: str
    corpus: int
    """The number of the reader's corpus it comes from, from 0."""
    members: Mapping[str, memoryview | bytes]
    """Extension (without the key and its dot) to content. Read only. A view shows the page cache: it copies
    nothing, and keeps the shard mapped as long as it exists."""
    row: Mapping[str, Any]
    """The sample's row of the index without the columns of places. It has only the key if the shards have no
    index that mien wrote."""
    seed: int
    """64 bits, a pure function of (the reader's seed, epoch, key). It determines windows and can seed
    augmentation, so neither depends on which process reads the sample."""


@dataclass(frozen=True, slots=True)
class SampleIds:
    """N samples: arrays (N,) of corpus, number in the corpus' index, and the sample's own epoch."""

    corpora: npt.NDArray[np.int64]
    samples: npt.NDArray[np.int64]
    epochs: npt.NDArray[np.int64]


class Collate(Protocol):
    """Turns samples into a batch. Must be picklable: each worker gets a copy."""

    @property
    def members(self) -> frozenset[str]:
        """Extensions that it reads if the sample has them."""
        ...

    def batch(self, samples: Sequence[RawSample], allocate: Allocate) -> dict[str, Any]:
        """Names to arrays from `allocate` (with every element written) or to picklable values.

        Raises DamagedSampleError, with the key of the damaged sample.
        """
        ...

    def one(self, sample: RawSample) -> dict[str, Any]:
        """A single sample, decoded. Raises DamagedSampleError."""
        ...
