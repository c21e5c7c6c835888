"""One corpus: an index, the selected shards, and the samples of those shards that pass the filter."""

from __future__ import annotations

import os
import weakref
from collections.abc import Collection
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import NoSamplesError
from mien.ingest.storage import Store, open_store
from mien.models.reader.corpus.index import Index, Int64
from mien.models.reader.corpus.index_cache import IndexCache
from mien.models.reader.corpus.listing import list_shards
from mien.models.reader.corpus.where import Where


class Corpus:
    """An open corpus. See `open_corpus`."""

    def __init__(self, store: Store, index: Index, where: str | None, shards: npt.NDArray[np.bool_]) -> None:
        self.store, self.index, self.where = store, index, where
        self.shards = shards
        """(shards,) True for the selected shards of the index."""

    @cached_property
    def manifest(self) -> list[tuple[str, str]]:
        index = self.index
        return [
            (index.names[n], index.identities[n] or f"{index.tar_bytes[n]} bytes")
            for n in np.flatnonzero(self.shards)
        ]

    @cached_property
    def selected(self) -> Int64 | None:
        """Numbers of the samples that pass the filter, ascending; None means all. Raises FilterError."""
        if self.where is None and self.shards.all():
            return None
        if self.where is None:
            selected = np.arange(len(self.index), dtype=np.int64)
        else:
            selected = Where(self.where, self.index.columns).select(self.index)
        return selected if self.shards.all() else selected[self.shards[self.index.shards_of(selected)]]

    @cached_property
    def counts(self) -> Int64:
        """(shards,) the number of selected samples of each shard."""
        if self.selected is None:
            return np.diff(self.index.first_row)
        bounds = np.searchsorted(self.selected, self.index.first_row)
        return np.diff(bounds).astype(np.int64)

    def __len__(self) -> int:
        return int(self.counts.sum())

    def numbers(self, ordinals: Int64) -> Int64:
        """The index's numbers of the selected samples with these ordinals."""
        return ordinals if self.selected is None else self.selected[ordinals]

    def only(self, names: Collection[str]) -> Corpus:
        """The same corpus with only these shards."""
        chosen = frozenset(names)
        mask = np.array([name in chosen for name in self.index.names], np.bool_)
        return Corpus(self.store, self.index, self.where, mask)


def open_corpus(uri: str, *, where: str | None, cache: Path, options: dict[str, Any]) -> Corpus:
    """Lists the shards at `uri` and opens their index, which is built if necessary.

    Raises:
        NoSamplesError: there is no shard, or no sample passes the filter.
        FilterError: see `Where`.
        SidecarError, SidecarVersionError: a shard's index is damaged, or has another schema.
        StorageError: the store cannot be read.
    """
    store = open_store(uri, **options)
    index, lock = IndexCache(cache, store.uri).open(store, list_shards(store))
    weakref.finalize(index, os.close, lock)
    corpus = Corpus(store, index, where, np.ones(len(index.names), np.bool_))
    if not len(corpus):
        why = f"none of {len(index)} samples passes where={where!r}" if len(index) else "its shards are empty"
        raise NoSamplesError(f"{store.uri}: no samples: {why}; relax the filter or check the address")
    return corpus
