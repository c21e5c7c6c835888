"""Lists the shards of a store.

A shard written by mien is committed once its sidecar `<shard>.parquet` exists; tars without a sidecar beside
it are ignored. If the store has no sidecar at all, every tar is read as a foreign WebDataset shard and
indexed by the reader. Tars named like mien's own are ignored there as well, because they are not committed
yet.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mien.ingest.errors import NoSamplesError
from mien.ingest.storage import Store

TAR = ".tar"
SIDECAR = ".tar.parquet"
_OURS = re.compile(r"[0-9a-z]{14}-[0-9a-f]{6}-\d{5,}\.tar")
"""The names that pipelines/shards/write.py gives to tars."""


@dataclass(frozen=True, slots=True)
class ShardListing:
    """A shard in a store's listing."""

    name: str
    """The tar's name."""
    tar_bytes: int
    """-1 if only the sidecar exists."""
    has_sidecar: bool
    stamp: str
    """Changes when the file changes that the index is built from."""


def list_shards(store: Store) -> list[ShardListing]:
    """The shards of `store`, by name.

    Raises:
        NoSamplesError: there is none.
        StorageError: the store cannot be read.
    """
    tars, sidecars = {}, {}
    for entry in store.list():
        if entry.name.endswith(TAR):
            tars[entry.name] = entry
        elif entry.name.endswith(SIDECAR):
            sidecars[entry.name.removesuffix(".parquet")] = entry
    found = []
    for name, source in sorted((sidecars or tars).items()):
        if not sidecars and _OURS.fullmatch(name):
            continue
        tar = tars.get(name)
        found.append(
            ShardListing(
                name=name,
                tar_bytes=tar.bytes if tar else -1,
                has_sidecar=bool(sidecars),
                stamp=f"{source.bytes}@{source.modified:.6f}",
            )
        )
    if not found:
        why = f"{len(tars)} tars are not committed" if tars else "there is no .tar"
        raise NoSamplesError(f"{store.uri}: no shard to read: {why}; check the address, or finish the run")
    return found
