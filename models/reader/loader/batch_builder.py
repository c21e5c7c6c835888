"""Assembles batches: reads the samples of a `BatchTask`, decodes them into a buffer, and turns the buffer
into the dict that the trainer gets.

`BatchBuilder` runs in the trainer's process or in a worker; `to_batch` runs in the trainer's process.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import DamagedSampleError, ReadError
from mien.models.reader.data import Collate, RawSample, SampleIds
from mien.models.reader.loader.buffers import HELD, ArrayLocation, BufferAllocator, BufferPool, BufferSlot
from mien.models.reader.store.shard_source import ShardSource

OnError = Literal["raise", "skip"]
VALID = "valid"
"""A key of every batch: (B,) bool, False in rows that only fill the batch up."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTask:
    """A batch to build. The result does not depend on the process that builds it."""

    number: int
    seed: int
    samples: SampleIds
    valid: npt.NDArray[np.bool_]
    substitutes: SampleIds
    """Samples that fill the batch if none of its own can be read."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """A sample that was left out, and the reason."""

    key: str
    reason: str
    """The name of the error's class."""
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class EncodedBatch:
    """A batch in a buffer."""

    number: int
    used: int
    """Bytes of the buffer in use."""
    arrays: Mapping[str, ArrayLocation]
    pickled: tuple[int, int]
    """(offset, size) in the buffer of the entries that are no arrays, pickled by our own process."""
    order: tuple[str, ...]
    """The batch's keys in order."""
    skipped: tuple[Skipped, ...] = field(default=())


class BatchBuilder:
    """Builds batches. Calls `report` with (corpus, sample) before reading that sample and with (-1, -1)
    before decoding."""

    def __init__(
        self,
        sources: Sequence[ShardSource],
        collate: Collate,
        on_error: OnError,
        report: Callable[[int, int], None] = lambda corpus, sample: None,
    ) -> None:
        self._sources, self._collate, self._on_error, self._report = sources, collate, on_error, report

    def build(self, task: BatchTask, slot: BufferSlot) -> EncodedBatch:
        """Raises DamagedSampleError if samples may not be skipped, ReadError if no sample is readable."""
        found = self._read(task.samples, task.seed)
        skipped: dict[str, Skipped] = {}
        damaged: set[str] = set()
        valid = task.valid.copy()
        while True:
            samples = self._replace_unreadable(found, valid, skipped, damaged, task)
            allocator = BufferAllocator(slot)
            self._report(-1, -1)
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
        return _encode(task.number, values, allocator, tuple(skipped.values()))

    def _read(self, ids: SampleIds, seed: int) -> list[RawSample | DamagedSampleError]:
        found: list[RawSample | DamagedSampleError] = [DamagedSampleError("", "")] * len(ids.samples)
        for corpus in np.unique(ids.corpora):
            rows = np.flatnonzero(ids.corpora == corpus)
            samples, epochs = ids.samples[rows].tolist(), ids.epochs[rows].tolist()
            self._report(int(corpus), samples[0])
            read = self._sources[int(corpus)].read_many(
                samples, epochs, seed=seed, tolerant=self._on_error == "skip"
            )
            for row, one in zip(rows, read, strict=True):
                found[row] = one
        return found

    def _replace_unreadable(
        self,
        found: list[RawSample | DamagedSampleError],
        valid: npt.NDArray[np.bool_],
        skipped: dict[str, Skipped],
        damaged: set[str],
        task: BatchTask,
    ) -> list[RawSample]:
        """The samples, with each unreadable one replaced by another sample and marked as not valid."""
        bad = {row: one for row, one in enumerate(found) if isinstance(one, DamagedSampleError)}
        for row, error in bad.items():
            if valid[row]:
                skipped[error.key] = Skipped(error.key, type(error).__name__, str(error))
            valid[row] = False
        good = [one for one in found if isinstance(one, RawSample)]
        if not good:
            substitutes = self._read(task.substitutes, task.seed)
            good = [one for one in substitutes if isinstance(one, RawSample) and one.key not in damaged]
        if not good:
            first = next(iter(bad.values()))
            raise ReadError(
                f"none of the {len(found)} samples of a batch can be read, and no substitute either; "
                f"first error: {first}"
            ) from first
        return [one if isinstance(one, RawSample) else good[row % len(good)] for row, one in enumerate(found)]


def _encode(
    number: int, values: dict[str, Any], allocator: BufferAllocator, skipped: tuple[Skipped, ...]
) -> EncodedBatch:
    arrays = {
        name: allocator.locate(value)
        for name, value in values.items()
        if isinstance(value, np.ndarray) and not value.dtype.hasobject
    }
    rest = pickle.dumps({name: value for name, value in values.items() if name not in arrays}, -1)
    location = allocator.locate(np.frombuffer(rest, np.uint8))
    return EncodedBatch(
        number=number,
        used=allocator.used,
        arrays=arrays,
        pickled=(location.offset, len(rest)),
        order=tuple(values),
        skipped=skipped,
    )


def to_batch(
    pool: BufferPool, slot: int, encoded: EncodedBatch, *, copy: bool, tensors: bool
) -> dict[str, Any]:
    """The batch as the trainer gets it. Its arrays show the buffer's memory. They are copied if `copy` is
    set, or if the trainer keeps so many batches that workers would run out of buffers."""
    copied = copy or pool.leased >= HELD
    array_at = pool.lease(slot, encoded.used)
    rest: dict[str, Any] = pickle.loads(pool.bytes_of(slot, *encoded.pickled))  # noqa: S301 - our worker's
    batch = {}
    for name in encoded.order:
        if name in rest:
            batch[name] = rest[name]
        else:
            array = array_at(encoded.arrays[name])
            batch[name] = array.copy() if copied else array
    if tensors:
        import torch

        for name in encoded.arrays:
            batch[name] = torch.from_numpy(batch[name])
    return batch
