"""Builds an index: reads sidecars in parallel, reuses the rows of an older index for unchanged shards, and
holds at most BATCH_ROWS rows in memory at once."""

from __future__ import annotations

import os
import shutil
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mien.ingest.errors import SidecarError, one_line
from mien.ingest.storage import Store
from mien.models.reader.corpus.index import BATCH_ROWS, SAMPLES, SHARDS, Index
from mien.models.reader.corpus.listing import ShardListing
from mien.models.reader.corpus.sidecar import ABSENT, is_place, read_rows, uniform

if TYPE_CHECKING:
    import pyarrow as pa

THREADS = 16
"""Threads that read sidecars; they mostly wait for the store."""
_MAX_PENDING = 4 * THREADS


def build_index(
    store: Store, shards: list[ShardListing], folder: Path, *, older: Index | None = None
) -> None:
    """Writes the index of `shards` into `folder`, which must exist and be empty.

    Raises SidecarError, SidecarVersionError, StorageError, OSError.
    """
    parts = folder / "parts"
    parts.mkdir()
    facts = []
    writer = _Parts(parts, store.uri)
    for shard, (table, identity, tar_bytes) in zip(shards, _tables(store, shards, older), strict=True):
        writer.append(table)
        facts.append(
            {
                "name": shard.name,
                "identity": identity,
                "stamp": shard.stamp,
                "tar_bytes": tar_bytes,
                "rows": table.num_rows,
            }
        )
    writer.join(folder / SAMPLES)
    shutil.rmtree(parts)
    _write_shards(facts, folder / SHARDS)
    for name in (SAMPLES, SHARDS):
        _sync(folder / name)


def _tables(
    store: Store, shards: list[ShardListing], older: Index | None
) -> Iterator[tuple[pa.Table, str, int]]:
    """In the order of `shards`."""
    known = {} if older is None else {name: number for number, name in enumerate(older.names)}
    with ThreadPoolExecutor(THREADS, "mien-index") as pool:
        waiting: deque[tuple[int | None, Future[tuple[pa.Table, str, int]] | None]] = deque()
        remaining = iter(shards)
        try:
            while True:
                while len(waiting) < _MAX_PENDING and (shard := next(remaining, None)) is not None:
                    number = known.get(shard.name)
                    if older is not None and number is not None and older.stamps[number] == shard.stamp:
                        waiting.append((number, None))
                    else:
                        waiting.append((None, pool.submit(read_rows, store, shard)))
                if not waiting:
                    return
                number, future = waiting.popleft()
                if future is not None:
                    yield future.result()
                elif older is not None and number is not None:
                    yield _slice(older, number), older.identities[number], int(older.tar_bytes[number])
        finally:
            for _, future in waiting:
                if future is not None:
                    future.cancel()


def _slice(index: Index, shard: int) -> pa.Table:
    import pyarrow as pa

    first, end = int(index.first_row[shard]), int(index.first_row[shard + 1])
    pieces = []
    while first < end:
        batch, row = divmod(first, BATCH_ROWS)
        count = min(end - first, BATCH_ROWS - row)
        pieces.append(index.batches[batch].slice(row, count))
        first += count
    return pa.Table.from_batches(pieces, index.schema)


class _Parts:
    """Splits tables into files of exactly BATCH_ROWS rows, then joins the files into one with all columns."""

    def __init__(self, folder: Path, uri: str) -> None:
        self._folder, self._uri = folder, uri
        self._waiting: list[Any] = []
        self._rows = 0
        self._paths: list[Path] = []

    def append(self, table: pa.Table) -> None:
        self._waiting.append(table)
        self._rows += table.num_rows
        while self._rows >= BATCH_ROWS:
            joined = self._joined()
            self._write(joined.slice(0, BATCH_ROWS))
            rest = joined.slice(BATCH_ROWS)
            self._waiting, self._rows = [rest], rest.num_rows

    def _write(self, table: pa.Table) -> None:
        import pyarrow as pa

        path = self._folder / str(len(self._paths))
        with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
            writer.write_table(table)
        self._paths.append(path)

    def _joined(self) -> pa.Table:
        import pyarrow as pa

        with self._schema_errors():
            return uniform(pa.concat_tables(self._waiting, promote_options="permissive"))

    @contextmanager
    def _schema_errors(self) -> Iterator[None]:
        import pyarrow as pa

        try:
            yield
        except pa.ArrowException as error:
            raise SidecarError(
                f"{self._uri}: the shards' indexes have incompatible columns ({one_line(str(error), 200)}); "
                "read the shards that differ as a separate corpus"
            ) from error

    def join(self, path: Path) -> None:
        import pyarrow as pa

        self._write(self._joined())
        schemas = []
        for part in self._paths:
            with pa.memory_map(str(part)) as file:
                schemas.append(pa.ipc.open_file(file).schema)
        with self._schema_errors():
            schema = pa.unify_schemas(schemas, promote_options="permissive")
        with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, schema) as writer:
            for part in self._paths:
                with pa.memory_map(str(part)) as file:
                    table = _with_columns(pa.ipc.open_file(file).read_all(), schema).combine_chunks()
                    writer.write_table(table, max_chunksize=BATCH_ROWS)
                part.unlink()


def _with_columns(table: pa.Table, schema: pa.Schema) -> pa.Table:
    """`table` with every column of `schema`. Missing columns of places are ABSENT, other columns null."""
    import pyarrow as pa

    if table.schema.equals(schema):
        return table
    columns = []
    for field in schema:
        if field.name in table.column_names:
            columns.append(table.column(field.name).cast(field.type))
        elif is_place(field.name):
            columns.append(pa.repeat(pa.scalar(ABSENT, pa.int64()), table.num_rows))
        else:
            columns.append(pa.nulls(table.num_rows, field.type))
    return pa.table(columns, schema=schema)


def _sync(path: Path) -> None:
    """Flushes the file before the folder gets its final name. Otherwise a power failure could leave an empty
    index."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_shards(facts: list[dict[str, Any]], path: Path) -> None:
    import pyarrow as pa

    kinds = {"name": pa.string(), "identity": pa.string(), "stamp": pa.string()}
    kinds |= {"tar_bytes": pa.int64(), "rows": pa.int64()}
    table = pa.table({name: pa.array([fact[name] for fact in facts], kind) for name, kind in kinds.items()})
    with pa.OSFile(str(path), "wb") as out, pa.ipc.new_file(out, table.schema) as writer:
        writer.write_table(table.combine_chunks())
