"""Lists the shards of a store and their state, as readers see them."""

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
    """None if unknown, because readers ignore this shard."""
    bytes: int | None
    """Size of the tar; None if it is missing."""
    hours: float | None
    """None if the index has no durations."""
    sidecar: bool
    state: str


COMMITTED, FOREIGN = "committed", "no sidecar; indexed by the reader"
NOT_COMMITTED, MISSING = "no sidecar; not committed, ignored by readers", "the tar is missing"
OTHER_SIZE = "the size of the tar differs from the committed size"


def list_rows(corpus: Corpus) -> list[ShardRow]:
    """Every shard of the index and every other tar, sorted by name. Raises StorageError."""
    index, store = corpus.index, corpus.store
    tars = {entry.name: entry.bytes for entry in store.list() if entry.name.endswith(TAR)}
    counts, hours = np.diff(index.first_row), hours_of_shards(index)
    rows = []
    for number, name in enumerate(index.names):
        own = bool(index.sha256[number])
        tar_bytes = tars.pop(name, None)
        state = COMMITTED if own else FOREIGN
        if tar_bytes is None:
            state = MISSING
        elif own and tar_bytes != int(index.tar_bytes[number]):
            state = OTHER_SIZE
        rows.append(
            ShardRow(
                name=name,
                samples=int(counts[number]),
                bytes=tar_bytes,
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
    """(shards,); None if the index has no `seconds`."""
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
