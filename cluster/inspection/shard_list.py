"""Shard by shard: what is there, and what readers see of it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from mien.models.reader.corpus.corpus import Corpus
from mien.models.reader.corpus.index import Index
from mien.models.reader.corpus.listing import TAR


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRow:
    name: str
    samples: int | None
    """None: nobody counted, for no reader takes it."""
    bytes: int | None
    """Of the tar that is there; None where it is gone."""
    hours: float | None
    """None where the index does not say how long a sample is."""
    sidecar: bool
    state: str


COMMITTED, STRANGER = "committed", "no sidecar: indexed by the reader"
NOT_COMMITTED, GONE = "no sidecar: not committed, not read", "the tar is gone"
OTHER_SIZE = "the tar is not of the committed size"


def list_rows(corpus: Corpus) -> list[ShardRow]:
    """Every shard of the index and every tar beside, by name. Raises StorageError."""
    index, store = corpus.index, corpus.store
    tars = {entry.name: entry.bytes for entry in store.list() if entry.name.endswith(TAR)}
    counts, hours = np.diff(index.first_row), hours_of_shards(index)
    rows = []
    for number, name in enumerate(index.names):
        own = bool(index.sha256[number])
        there = tars.pop(name, None)
        state = COMMITTED if own else STRANGER
        if there is None:
            state = GONE
        elif own and there != int(index.tar_bytes[number]):
            state = OTHER_SIZE
        rows.append(
            ShardRow(
                name=name,
                samples=int(counts[number]),
                bytes=there,
                hours=None if hours is None else float(hours[number]),
                sidecar=own,
                state=state,
            )
        )
    for name, size in tars.items():
        rows.append(
            ShardRow(name=name, samples=None, bytes=size, hours=None, sidecar=False, state=NOT_COMMITTED)
        )
    return sorted(rows, key=lambda row: row.name)


def hours_of_shards(index: Index) -> npt.NDArray[np.float64] | None:
    """(shards,); None where the index has no `seconds`."""
    if "seconds" not in index.columns:
        return None
    import pyarrow as pa
    import pyarrow.compute as pc

    parts = [
        pc.fill_null(batch.column("seconds").cast(pa.float64()), 0.0).to_numpy() for batch in index.batches
    ]
    seconds = np.concatenate(parts) if parts else np.zeros(0)
    running = np.concatenate([[0.0], np.cumsum(seconds)])
    return np.asarray(np.diff(running[index.first_row]) / 3600.0)
