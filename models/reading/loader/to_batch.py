"""From a slot to what the trainer gets."""

from __future__ import annotations

import pickle
from typing import Any

from mien.models.reading.loader.slots import HELD, SlotPool
from mien.models.reading.loader.work import EncodedBatch


def to_batch(pool: SlotPool, slot: int, made: EncodedBatch, *, copy: bool, tensors: bool) -> dict[str, Any]:
    """The batch, lying in the slot; or copied, where that is asked for, or where so many batches are kept
    that decoding would have to wait for one of them."""
    copied = copy or pool.leased >= HELD
    cut = pool.lease(slot, made.used)
    rest: dict[str, Any] = pickle.loads(pool.bytes_of(slot, *made.rest))  # noqa: S301 - our worker's
    batch = {}
    for name in made.order:
        if name in rest:
            batch[name] = rest[name]
        else:
            array = cut(made.arrays[name])
            batch[name] = array.copy() if copied else array
    if tensors:
        import torch

        for name in made.arrays:
            batch[name] = torch.from_numpy(batch[name])
    return batch
