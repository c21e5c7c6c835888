"""Reads the rows of one shard as an Arrow table: from its sidecar or, for a foreign tar, from the tar
headers.

In the index, `offset.<ext>`, `size.<ext>` and `crc32.<ext>` (the columns of places) are int64 with -1 for
"absent", so they can be looked up as plain numbers.
"""

from __future__ import annotations

import hashlib
import io
import json
from typing import TYPE_CHECKING, Any

from mien.ingest.errors import SidecarError, SidecarVersionError, one_line
from mien.ingest.storage import Store
from mien.models.reader.corpus.listing import ShardListing
from mien.models.reader.corpus.tars import TarDamage, scan_samples
from mien.pipelines.data import SCHEMA_VERSION

if TYPE_CHECKING:
    import pyarrow as pa

PLACES = ("offset.", "size.", "crc32.")
ABSENT = -1
HEADERS = "headers "


def is_place(column: str) -> bool:
    return column.startswith(PLACES)


def read_rows(store: Store, shard: ShardListing) -> tuple[pa.Table, str, int]:
    """(rows, the tar's identity, the tar's expected size in bytes). The identity is the tar's sha256. A
    foreign tar has no known sha256, so its identity is HEADERS and a hash of its members' names and places.

    Raises:
        SidecarVersionError: the sidecar has another schema.
        SidecarError: the sidecar or the foreign tar cannot be read.
        StorageError: the store cannot be read.
    """
    if shard.has_sidecar:
        return _from_sidecar(store.read(f"{shard.name}.parquet"), f"{store.uri}/{shard.name}")
    return *_from_headers(store, shard), shard.tar_bytes


def _from_sidecar(data: bytes, where: str) -> tuple[pa.Table, str, int]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.ParquetFile(io.BytesIO(data)).read(use_threads=False)
        facts = json.loads((table.schema.metadata or {})[b"mien"])
        version, sha256, tar_bytes = facts["schema_version"], str(facts["sha256"]), int(facts["bytes"])
        keys = table.column("key")
    except (pa.ArrowException, KeyError, OSError, ValueError, TypeError) as error:
        raise SidecarError(
            f"{where}.parquet: this index cannot be read ({one_line(str(error), 200)}); "
            "move it and its tar away, or regenerate them"
        ) from error
    if version != SCHEMA_VERSION:
        raise SidecarVersionError(
            f"{where}.parquet: the index has schema {version}, and this version of mien reads schema "
            f"{SCHEMA_VERSION}; read it with the version that wrote it, or move such shards to another folder"
        )
    if keys.null_count:
        raise SidecarError(f"{where}.parquet: {keys.null_count} rows have no key; regenerate the shard")
    return table, sha256, tar_bytes


def _from_headers(store: Store, shard: ShardListing) -> tuple[pa.Table, str]:
    import pyarrow as pa

    try:
        with store.open(shard.name) as tar:
            samples = list(scan_samples(tar, shard.tar_bytes))
    except TarDamage as error:
        raise SidecarError(f"{store.uri}/{shard.name}: {error}; repair it or move it away") from error
    keys = pa.array([sample.key.encode("utf-8", "replace").decode() for sample in samples], pa.large_string())
    columns: dict[str, Any] = {"key": keys}
    none = (ABSENT, ABSENT)
    for extension in sorted({extension for sample in samples for extension in sample.places}):
        places = [sample.places.get(extension, none) for sample in samples]
        for part, values in zip(PLACES, zip(*places, strict=True), strict=False):
            columns[f"{part}{extension}"] = pa.array(values, pa.int64())
    headers = [(sample.key, sorted(sample.places.items())) for sample in samples]
    return pa.table(columns), HEADERS + hashlib.sha256(
        repr(headers).encode("ascii", "backslashreplace")
    ).hexdigest()


def uniform(table: pa.Table) -> pa.Table:
    """The same rows with the index's column types. Converting many shards at once costs as much as one."""
    import pyarrow as pa
    import pyarrow.compute as pc

    columns = {}
    for name in table.column_names:
        column = table.column(name)
        if is_place(name):
            column = pc.fill_null(column.cast(pa.int64()), ABSENT)
        elif pa.types.is_string(column.type) or pa.types.is_dictionary(column.type):
            # 32-bit offsets are limited to 2 GiB of text.
            column = column.cast(pa.large_string())
        columns[name] = column
    return pa.table(columns)
