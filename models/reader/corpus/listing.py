"""Which shards a store shows.

A shard of ours is committed once its sidecar `<shard>.parquet` is there, and no tar beside it counts. Where
no sidecar is there at all, every tar is taken for a WebDataset of somebody else's, whose index is made here;
but not one that our writers named: it is on its way.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mien.ingest.errors import NoSamplesError
from mien.ingest.storage import Store

TAR = ".tar"
SIDECAR = ".tar.parquet"
_OURS = re.compile(r"[0-9a-z]{14}-[0-9a-f]{6}-\d{5,}\.tar")
"""As pipelines/shards/write.py names a tar."""


@dataclass(frozen=True, slots=True)
class ShardListing:
    """A shard as the listing shows it."""

    name: str
    """Of the tar."""
    tar_bytes: int
    """-1 where only the sidecar is there."""
    has_sidecar: bool
    stamp: str
    """Changes when what the index is made of does."""


def list_shards(store: Store) -> list[ShardListing]:
    """The shards of `store`, by name.

    Raises:
        NoSamplesError: there is none.
        StorageError: the store does not answer.
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
        why = f"{len(tars)} tars there were not committed" if tars else "no .tar is there"
        raise NoSamplesError(f"{store.uri}: no shard to read, {why}; check the address, or finish the run")
    return found
