"""Shared batch memory: other processes see allocated arrays, and no buffer is reused too early."""

from __future__ import annotations

import gc
import os
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch

from mien.models.reader.loader.batch_builder import EncodedBatch, to_batch
from mien.models.reader.loader.buffers import (
    ALIGNMENT,
    HELD,
    ArrayLocation,
    BufferAllocator,
    BufferPool,
    BufferSlot,
)
from tests.models.process_resources import NOTHING, held


def encode(pool: BufferPool, number: int, fill: int) -> EncodedBatch:
    allocator = BufferAllocator(BufferSlot(pool.slots[number].descriptor))
    array = allocator.allocate("x", (1000,), np.dtype(np.int64))
    array[:] = fill
    rest = allocator.locate(np.frombuffer(pickle.dumps({"key": [str(fill)]}), np.uint8))
    arrays = {"x": allocator.locate(array)}
    return EncodedBatch(
        number=0,
        used=allocator.used,
        arrays=arrays,
        pickled=(rest.offset, rest.shape[0]),
        order=("key", "x"),
        skipped=(),
    )


@pytest.fixture
def pool() -> BufferPool:
    return BufferPool(HELD + 2)


def test_other_views_see_allocated_arrays(pool: BufferPool) -> None:
    mine, theirs = BufferAllocator(BufferSlot(pool.slots[0].descriptor)), pool.slots[0]
    arrays = [
        mine.allocate(str(n), shape, np.dtype(kind))
        for n, (shape, kind) in enumerate(
            [
                ((3,), np.bool_),
                ((2, 5), np.float32),
                ((0, 4), np.int16),
                ((1 << 21,), np.float64),
                ((), np.uint8),
            ]
        )
    ]
    for array in arrays:
        array[...] = 1
        assert not array.size or array.__array_interface__["data"][0] % ALIGNMENT == 0
    cut = pool.lease(0, mine.used)

    for array in arrays:
        shown = cut(mine.locate(array))
        assert shown.dtype == array.dtype
        assert np.array_equal(shown, array), "also arrays allocated before the buffer grew"
    assert mine.used <= os.fstat(theirs.descriptor).st_size


def test_copies_arrays_from_elsewhere(pool: BufferPool) -> None:
    allocator = BufferAllocator(pool.slots[0])
    own = allocator.allocate("x", (4, 6), np.dtype(np.int32))
    own[...] = np.arange(24).reshape(4, 6)
    cut = pool.lease(0, 1 << 20)

    for array in (np.arange(5.0), own[:, ::2], own[1:3], np.zeros((0, 3), np.int8)):
        assert np.array_equal(cut(allocator.locate(array)), array)
    assert allocator.locate(own[1:3]) == ArrayLocation(24, (2, 6), "<i4"), "a contiguous part is not copied"


def test_buffer_is_free_after_last_view(pool: BufferPool) -> None:
    slot = pool.acquire()
    batch = to_batch(pool, slot, encode(pool, slot, 5), copy=False, tensors=True)
    assert batch["key"] == ["5"]
    assert isinstance(batch["x"], torch.Tensor)
    part = batch["x"][10:20].view(2, 5)
    del batch
    gc.collect()
    assert pool.leased == 1
    assert part.sum() == 50

    del part
    gc.collect()
    assert (pool.leased, len(pool)) == (0, HELD + 2)


def test_retaining_many_batches_gives_copies(pool: BufferPool) -> None:
    """Otherwise workers and trainer would wait for each other."""
    retained = []
    for number in range(20):
        slot = pool.acquire()
        retained.append(to_batch(pool, slot, encode(pool, slot, number), copy=False, tensors=False))
        gc.collect()
        assert pool.leased <= HELD
        assert len(pool) >= 2

    assert [int(batch["x"][7]) for batch in retained] == list(range(20))


def test_copies_release_buffer(pool: BufferPool) -> None:
    slot = pool.acquire()
    batch = to_batch(pool, slot, encode(pool, slot, 3), copy=True, tensors=False)
    gc.collect()

    assert pool.leased == 0
    assert int(batch["x"].sum()) == 3000


def test_buffers_are_anonymous_files() -> None:
    before = held()
    pool = BufferPool(4)
    array = BufferAllocator(pool.slots[0]).allocate("x", (100,), np.dtype(np.float32))
    array[...] = 2
    for slot in pool.slots:
        assert "(deleted)" in str(Path(f"/proc/self/fd/{slot.descriptor}").readlink())
    pool.close()
    assert array.sum() == 200, "arrays stay valid after close"
    del array

    assert held().since(before) == NOTHING


def test_reuses_memory(pool: BufferPool) -> None:
    for _ in range(50):
        slot = pool.acquire()
        to_batch(pool, slot, encode(pool, slot, 1), copy=False, tensors=False)
    sizes = [os.fstat(slot.descriptor).st_size for slot in pool.slots]

    assert sum(sizes) <= len(sizes) * (2 << 20)
