"""The work itself: from the numbers of samples to a batch, in whichever process."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import DamagedSampleError, ReadError
from mien.models.reader.data import Collate, RawSample
from mien.models.reader.loader.buffers import HELD, ArrayLocation, BufferAllocator, BufferPool, BufferSlot
from mien.models.reader.store.shard_source import ShardSource

OnError = Literal["raise", "skip"]
VALID = "valid"
"""The batch's own entry: (B,) bool, False in rows that only fill it up."""

Int64 = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SampleIds:
    """Samples, by corpus, number in its index, and epoch of their own."""

    corpora: Int64
    samples: Int64
    epochs: Int64


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTask:
    """One batch that is to be made. Whoever makes it, it comes out the same."""

    number: int
    seed: int
    picks: SampleIds
    valid: npt.NDArray[np.bool_]
    spares: SampleIds
    """What fills the batch where none of its own samples can be read."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sample that was left out, and why."""

    key: str
    reason: str
    """The class of the error."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBatch:
    """A batch in a slot."""

    number: int
    used: int
    """Bytes of the slot"""
    arrays: Mapping[str, ArrayLocation]
    rest: tuple[int, int]
    """(offset, size) of the other entries in the slot, pickled by our own process"""
    order: tuple[str, ...]
    skipped: tuple[Skipped, ...] = field(default=())


class BatchBuilder:
    """Makes batches. `tell`: is told (corpus, sample) before that is read, (-1, -1) when decoding begins."""

    def __init__(
        self,
        sources: Sequence[ShardSource],
        collate: Collate,
        on_error: OnError,
        tell: Callable[[int, int], None] = lambda corpus, sample: None,
    ) -> None:
        self._sources, self._collate, self._on_error, self._tell = sources, collate, on_error, tell

    def make(self, task: BatchTask, slot: BufferSlot) -> EncodedBatch:
        """Raises DamagedSampleError where nothing may be skipped, or nothing is left."""
        found = self._read(task.picks, task.seed)
        skipped: dict[str, Skipped] = {}
        damaged: set[str] = set()
        valid = task.valid.copy()
        while True:
            samples = self._filled(found, valid, skipped, damaged, task)
            allocator = BufferAllocator(slot)
            self._tell(-1, -1)
            try:
                values = self._collate.batch(samples, allocator.allocate)
                break
            except DamagedSampleError as error:
                rows = [n for n, sample in enumerate(samples) if sample.key == error.key]
                if self._on_error == "raise" or not rows:
                    raise
                damaged.add(error.key)
                for row in rows:
                    found[row] = error
        values[VALID] = allocator.allocate(VALID, valid.shape, np.dtype(np.bool_))
        values[VALID][...] = valid
        return _packed(task.number, values, allocator, tuple(skipped.values()))

    def _read(self, picks: SampleIds, seed: int) -> list[RawSample | DamagedSampleError]:
        found: list[RawSample | DamagedSampleError] = [DamagedSampleError("", "")] * len(picks.samples)
        for corpus in np.unique(picks.corpora):
            rows = np.flatnonzero(picks.corpora == corpus)
            samples, epochs = picks.samples[rows].tolist(), picks.epochs[rows].tolist()
            self._tell(int(corpus), samples[0])
            read = self._sources[int(corpus)].read_many(
                samples, epochs, seed=seed, tolerant=self._on_error == "skip"
            )
            for row, one in zip(rows, read, strict=True):
                found[row] = one
        return found

    def _filled(
        self,
        found: list[RawSample | DamagedSampleError],
        valid: npt.NDArray[np.bool_],
        skipped: dict[str, Skipped],
        damaged: set[str],
        task: BatchTask,
    ) -> list[RawSample]:
        """The samples, with another one, marked as not valid, in the place of each that cannot be had."""
        bad = {row: one for row, one in enumerate(found) if isinstance(one, DamagedSampleError)}
        for row, error in bad.items():
            if valid[row]:
                skipped[error.key] = Skipped(error.key, type(error).__name__, str(error))
            valid[row] = False
        good = [one for one in found if isinstance(one, RawSample)]
        if not good:
            spare = self._read(task.spares, task.seed)
            good = [one for one in spare if isinstance(one, RawSample) and one.key not in damaged]
        if not good:
            first = next(iter(bad.values()))
            raise ReadError(
                f"none of {len(found)} samples of a batch can be read, nor of those beside them; "
                f"the first: {first}"
            ) from first
        return [one if isinstance(one, RawSample) else good[row % len(good)] for row, one in enumerate(found)]


def _packed(
    number: int, values: dict[str, Any], allocator: BufferAllocator, skipped: tuple[Skipped, ...]
) -> EncodedBatch:
    arrays = {
        name: allocator.describe(value)
        for name, value in values.items()
        if isinstance(value, np.ndarray) and not value.dtype.hasobject
    }
    rest = pickle.dumps({name: value for name, value in values.items() if name not in arrays}, -1)
    place = allocator.describe(np.frombuffer(rest, np.uint8))
    return EncodedBatch(
        number=number,
        used=allocator.used,
        arrays=arrays,
        rest=(place.offset, len(rest)),
        order=tuple(values),
        skipped=skipped,
    )


def to_batch(pool: BufferPool, slot: int, made: EncodedBatch, *, copy: bool, tensors: bool) -> dict[str, Any]:
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
