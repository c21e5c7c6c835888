"""Reusable memory for batches, shared by the worker processes and their parent.

A buffer is an anonymous file (memfd_create(2)). The kernel frees it when the last process that has it open
ends, however that process ends, and a container's small /dev/shm does not limit its size. Its pages are
touched once, so a batch decoded into a buffer costs neither an allocation nor a copy.
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
"""Bytes: one cache line, and enough for vector instructions."""
HELD = 3
"""Batches that a trainer may keep at once before the loader returns copies."""
_GROWTH_BYTES = 1 << 21


@dataclass(frozen=True, slots=True)
class ArrayLocation:
    """Where an array is stored in a buffer."""

    offset: int
    shape: tuple[int, ...]
    dtype: str


def anonymous_file() -> int:
    """The descriptor of an empty file in memory, or on disk if the system has no memfd_create."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("mien-batch", os.MFD_CLOEXEC)
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def anonymous_files(count: int) -> list[int]:
    """Opens `count` files; if one fails (the process may open no more), closes the others and raises."""
    descriptors: list[int] = []
    try:
        while len(descriptors) < count:
            descriptors.append(anonymous_file())
    except BaseException:
        close_all(descriptors)
        raise
    return descriptors


def close_all(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


class BufferSlot:
    """One process' view of a buffer. Only the process that writes the batch makes the buffer longer."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._map: mmap.mmap | None = None

    def mapped(self, size: int) -> mmap.mmap:
        """A mapping of at least `size` bytes. Earlier mappings stay valid and show the same bytes."""
        if self._map is None or len(self._map) < size:
            length = os.fstat(self.descriptor).st_size
            if length < size:
                length = -(-size * 5 // 4 // _GROWTH_BYTES) * _GROWTH_BYTES
                os.ftruncate(self.descriptor, length)
            self._map = mmap.mmap(self.descriptor, length)
        return self._map

    def unmap(self) -> None:
        """Drops the mapping; arrays that were created from it stay valid."""
        self._map = None


class BufferAllocator:
    """Allocates the arrays of one batch in a buffer."""

    def __init__(self, slot: BufferSlot) -> None:
        self._slot = slot
        self.used = 0
        self._maps: list[tuple[int, int]] = []
        """(address, length) of each mapping that holds an allocated array."""

    def allocate(self, name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
        """An uninitialised array: it holds whatever the previous batch left there."""
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

    def locate(self, array: npt.NDArray[Any]) -> ArrayLocation:
        """The location of `array`. An array that is not in this buffer is copied into it first."""
        start = array.__array_interface__["data"][0]
        for base, length in self._maps:
            if array.size and base <= start < base + length and array.flags.c_contiguous:
                return ArrayLocation(start - base, array.shape, array.dtype.str)
        copy = self.allocate("", array.shape, array.dtype)
        copy[...] = array
        return self.locate(copy) if array.size else ArrayLocation(0, array.shape, array.dtype.str)


class BufferPool:
    """The parent's buffers: those that are free, and those that are leased to a batch. All memory is freed
    when the pool is garbage collected, whether or not it was closed."""

    def __init__(self, count: int) -> None:
        self.slots = [BufferSlot(descriptor) for descriptor in anonymous_files(count)]
        self._close_files = weakref.finalize(self, close_all, [slot.descriptor for slot in self.slots])
        self._free = deque(range(count))
        self._leased: set[int] = set()

    def __len__(self) -> int:
        """Free buffers."""
        return len(self._free)

    @property
    def leased(self) -> int:
        """Buffers whose batches are still referenced."""
        return len(self._leased)

    def acquire(self) -> int:
        """The number of a free buffer. Raises IndexError if none is free."""
        return self._free.popleft()

    def release(self, number: int) -> None:
        self._leased.discard(number)
        self._free.append(number)

    def lease(self, number: int, used: int) -> Callable[[ArrayLocation], npt.NDArray[Any]]:
        """A function from locations to arrays in the buffer. The buffer becomes free when the last of these
        arrays, and the last view of them, is garbage collected."""
        memory = self.slots[number].mapped(max(used, 1))
        # numpy and torch keep a reference to the object whose memory they show, so this object is finalised
        # together with the last array or tensor.
        root = (ctypes.c_ubyte * len(memory)).from_buffer(memory)
        self._leased.add(number)
        weakref.finalize(root, self.release, number).atexit = False
        return lambda location: _array_at(root, location)

    def bytes_of(self, number: int, offset: int, size: int) -> memoryview:
        return memoryview(self.slots[number].mapped(offset + size))[offset : offset + size]

    def close(self) -> None:
        for slot in self.slots:
            slot.unmap()
        self._close_files()


def _array_at(root: Any, location: ArrayLocation) -> npt.NDArray[Any]:
    dtype = np.dtype(location.dtype)
    count = int(np.prod(location.shape, dtype=np.int64))
    if not count:
        return np.empty(location.shape, dtype)
    return np.frombuffer(root, dtype, count, location.offset).reshape(location.shape)
