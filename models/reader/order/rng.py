"""Random numbers that are the same on every machine and numpy version.

They are words of Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011), keyed
by a hash of their purpose. numpy guarantees the raw words of its bit generators (NEP 19), but not the results
of `Generator.permutation`, so permutations are made by sorting raw words.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt


def words(count: int, *purpose: str | int) -> npt.NDArray[np.uint64]:
    """(count,) random words that depend only on `purpose`."""
    digest = hashlib.sha256("\0".join(map(str, purpose)).encode()).digest()
    key = np.array([int.from_bytes(digest[at : at + 8], "little") for at in (0, 8)], np.uint64)
    raw: Any = np.random.Philox(key=key).random_raw(count)
    return np.asarray(raw, np.uint64)


def permutation(count: int, *purpose: str | int) -> npt.NDArray[np.int64]:
    """(count,) the numbers 0 … count - 1 in an order that depends only on `purpose`."""
    return np.argsort(words(count, *purpose), kind="stable").astype(np.int64)


def sample_seed(seed: int, epoch: int, key: str) -> int:
    """64 bits for one sample in one epoch; the same in every process."""
    data = f"{seed}\0{epoch}\0{key}".encode("utf-8", "surrogatepass")
    return int.from_bytes(hashlib.blake2b(data, digest_size=8).digest(), "little")
