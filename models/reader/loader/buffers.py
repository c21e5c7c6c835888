"""Memory for batches that is used again and again, shared by the decoding processes and their parent.

A slot is a file without a name (memfd_create(2)): nothing of it is left when the last process is gone,
however it went, and a container's small /dev/shm does not bound it. Its pages are touched once; a batch
decoded into them costs neither an allocation nor a copy.
"""

from __future__ import annotations

import ctypes
import mmap
import os
import tempfile
import weakref
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

ALIGNMENT = 64
"""Bytes; a cache line, and what vector instructions like."""
HELD = 3
"""Batches that a trainer may keep at once without their being copied."""
_STEP_BYTES = 1 << 21


@dataclass(frozen=True, slots=True)
class ArrayLocation:
    """Where an array lies in a slot."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


def anonymous_file() -> int:
    """A descriptor of an empty file in memory, or of one on the disk where the system has no such thing."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mien-batch", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def anonymous_files(count: int) -> list[int]:
    """All of them or, where the process may open no more, none."""
    made: list[int] = []
    try:
        while len(made) < count:
            made.append(anonymous_file())
    except BaseException:
        close_all(made)
        raise
    return made


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class BufferSlot:
    """One process' view of a slot. Its writer alone makes it longer."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    def mapped(self, size: int) -> mmap.mmap:
        """A mapping of at least `size` bytes; those given before stay valid, and show the same."""
        if self._map is None or len(self._map) < size:
            have = os.fstat(self.descriptor).st_size
            if have < size:
                have = -(-size * 5 // 4 // _STEP_BYTES) * _STEP_BYTES
                os.ftruncate(self.descriptor, have)
            self._map = mmap.mmap(self.descriptor, have)
        return self._map

    def forget(self) -> None:
        """Lets go of the mapping; arrays that were made of it stay valid."""
        self._map = None


class BufferAllocator:
    """Cuts arrays out of a slot, for one batch."""

    def __init__(self, slot: BufferSlot) -> None:
        self._slot = slot
        self.used = 0
        self._maps: list[tuple[int, int]] = []
        """(address, length) of the mappings that arrays were cut from."""

    def allocate(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """Uninitialised: what the batch before left there."""
        del name
        dtype = np.dtype(dtype)
        count = int(np.prod(shape, dtype=np.int64))
        offset = -(-self.used // ALIGNMENT) * ALIGNMENT
        self.used = offset + count * dtype.itemsize
        memory = self._slot.mapped(max(self.used, 1))
        array = np.frombuffer(memory, dtype, count, offset) if count else np.empty(0, dtype)
        if count:
            base = array.__array_interface__["data"][0] - offset
            if (base, len(memory)) not in self._maps:
                self._maps.append((base, len(memory)))
        return array.reshape(shape)

    def describe(self, array: npt.NDArray[Any]) -> ArrayLocation:
        """Where `array` lies; one that was not cut here is copied."""
        start = array.__array_interface__["data"][0]
        for base, length in self._maps:
            if array.size and base <= start < base + length and array.flags.c_contiguous:
                return ArrayLocation(start - base, array.shape, array.dtype.str)
        own = self.allocate("", array.shape, array.dtype)
        own[...] = array
        return self.describe(own) if array.size else ArrayLocation(0, array.shape, array.dtype.str)


class BufferPool:
    """The parent's side: slots that are free, and those that a batch still lies in. Nothing of it is left
    once nobody has it, closed or not."""

    def __init__(self, count: int) -> None:
        self.slots = [BufferSlot(descriptor) for descriptor in anonymous_files(count)]
        self._end = weakref.finalize(self, close_all, [slot.descriptor for slot in self.slots])
        self._free = deque(range(count))
        self._leased: set[int] = set()

    def __len__(self) -> int:
        return len(self._free)

    @property
    def leased(self) -> int:
        """Slots that batches lie in which somebody still has."""
        return len(self._leased)

    def take(self) -> int:
        """Raises IndexError where none is free."""
        return self._free.popleft()

    def give(self, number: int) -> None:
        self._leased.discard(number)
        self._free.append(number)

    def lease(self, number: int, used: int) -> Callable[[ArrayLocation], npt.NDArray[Any]]:
        """Makes arrays of the slot, which is free again when the last of them and of their views is gone."""
        memory = self.slots[number].mapped(max(used, 1))
        # numpy and torch keep the object whose memory they show, and this one can tell when it goes.
        root = (ctypes.c_ubyte * len(memory)).from_buffer(memory)
        self._leased.add(number)
        weakref.finalize(root, self.give, number).atexit = False
        return lambda described: _array(root, described)

    def bytes_of(self, number: int, offset: int, size: int) -> memoryview:
        return memoryview(self.slots[number].mapped(offset + size))[offset : offset + size]

    def close(self) -> None:
        for slot in self.slots:
            slot.forget()
        self._end()


def _array(root: Any, described: ArrayLocation) -> npt.NDArray[Any]:
    dtype = np.dtype(described.dtype)
    count = int(np.prod(described.shape, dtype=np.int64))
    if not count:
        return np.empty(described.shape, dtype)
    return np.frombuffer(root, dtype, count, described.offset).reshape(described.shape)
