"""One index over all shards of a corpus. It is memory-mapped, so opening it reads almost nothing.

An index is a folder of two Arrow IPC files (arrow.apache.org/docs/format/Columnar.html): `samples.arrow` with
one row per sample in batches of BATCH_ROWS, and `shards.arrow` with one row per shard. A sample's number is
its row, counted over the shards in the order of their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import numpy.typing as npt

from mien.models.reader.corpus.sidecar import HEADERS, is_place

if TYPE_CHECKING:
    import pyarrow as pa

BATCH_ROWS = 1 << 16
SAMPLES, SHARDS = "samples.arrow", "shards.arrow"

Int64 = npt.NDArray[np.int64]


class SampleRow(Mapping[str, Any]):
    """The index's columns of one sample, read on access."""

    __slots__ = ("_batch", "_index", "_names")

    def __init__(self, batch: pa.RecordBatch, index: int, names: Mapping[str, int]) -> None:
        self._batch, self._index, self._names = batch, index, names

    def __getitem__(self, name: str) -> Any:
        return self._batch.column(self._names[name])[self._index].as_py()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class Index:
    """Raises OSError if `folder` holds no index, ArrowException or KeyError if the index is damaged."""

    def __init__(self, folder: Path) -> None:
        import pyarrow as pa

        self.folder = folder
        self._reader = pa.ipc.open_file(pa.memory_map(str(folder / SAMPLES)))
        self.batches: list[pa.RecordBatch] = [
            self._reader.get_batch(number) for number in range(self._reader.num_record_batches)
        ]
        with pa.memory_map(str(folder / SHARDS)) as file:
            shards = pa.ipc.open_file(file).read_all()
        self.names: list[str] = shards.column("name").to_pylist()
        self.identities: list[str] = shards.column("identity").to_pylist()
        """See `sidecar.read_rows`."""
        self.sha256 = ["" if identity.startswith(HEADERS) else identity for identity in self.identities]
        """The hash of each tar; "" if it is unknown."""
        self.stamps: list[str] = shards.column("stamp").to_pylist()
        self.tar_bytes: Int64 = _integers(*shards.column("tar_bytes").chunks)
        """The committed size of each tar, whatever its size is now."""
        rows = _integers(*shards.column("rows").chunks)
        self.first_row: Int64 = np.concatenate([[0], np.cumsum(rows)]).astype(np.int64)
        """(shards + 1,) the first row of each shard, and the number of all rows."""
        self._columns = {name: number for number, name in enumerate(self._reader.schema.names)}
        self._row_columns = {name: n for name, n in self._columns.items() if not is_place(name)}
        self._numbers: dict[str, list[Int64]] = {}

    def __len__(self) -> int:
        return int(self.first_row[-1])

    @property
    def schema(self) -> pa.Schema:
        return self._reader.schema

    @property
    def columns(self) -> list[str]:
        """Columns that a filter may use."""
        return list(self._row_columns)

    @cached_property
    def extensions(self) -> frozenset[str]:
        return frozenset(name.removeprefix("offset.") for name in self._columns if name.startswith("offset."))

    def key(self, sample: int) -> str:
        batch, row = divmod(sample, BATCH_ROWS)
        return cast("str", self.batches[batch].column(self._columns["key"])[row].as_py())

    def row(self, sample: int) -> SampleRow:
        batch, row = divmod(sample, BATCH_ROWS)
        return SampleRow(self.batches[batch], row, self._row_columns)

    def numbers(self, name: str) -> list[Int64]:
        """A column of places, one array per batch; empty if no sample has the column."""
        found = self._numbers.get(name)
        if found is None:
            column = self._columns.get(name)
            found = [] if column is None else [_integers(batch.column(column)) for batch in self.batches]
            self._numbers[name] = found
        return found

    def shards_of(self, samples: Int64) -> Int64:
        return np.searchsorted(self.first_row, samples, side="right") - 1

    def find(self, key: str) -> int | None:
        """The number of the first sample with this key."""
        import pyarrow.compute as pc

        for number, batch in enumerate(self.batches):
            at = pc.index(batch.column(self._columns["key"]), key).as_py()
            if at >= 0:
                return number * BATCH_ROWS + int(at)
        return None


def _integers(*chunks: pa.Array) -> Int64:
    """A column of int64 without nulls as an array; a single chunk is not copied.

    Does not use pyarrow's `to_numpy`, which imports pandas if it is installed. That import takes a quarter of
    a worker's start-up time.
    """
    arrays = [
        np.frombuffer(chunk.buffers()[1], np.int64, len(chunk), 8 * chunk.offset)
        for chunk in chunks
        if len(chunk)
    ]
    return arrays[0] if len(arrays) == 1 else np.concatenate([np.zeros(0, np.int64), *arrays])
