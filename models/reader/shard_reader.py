"""Reads shards as training batches: exact, fast, and resumable at any step on any number of ranks.

    reader = ShardReader("s3://corpus/shards", fields=["faces", "audio", "text"], seed=7,
                         where="face_size_pixels > 96 and language == 'en'")
    with reader.loader(global_batch=256, workers=8) as loader:
        for epoch in range(loader.epoch, 10):
            for batch in loader:
                …
                state = loader.state_dict()     # at any time; load_state_dict continues after this batch

It reads plain tars: mien's, with the index in their sidecars, or any WebDataset, which it indexes first.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import UnknownKeyError, UsageError
from mien.ingest.storage import redact
from mien.ingest.storage.local import LocalStore
from mien.models.reader.corpus.corpus import Corpus, open_corpus
from mien.models.reader.corpus.index_cache import default_cache
from mien.models.reader.data import Collate, RawSample
from mien.models.reader.fields.collate import Collator
from mien.models.reader.fields.field import Field
from mien.models.reader.fields.window import Window
from mien.models.reader.loader.batch_builder import BatchBuilder, OnError
from mien.models.reader.loader.batch_queue import BatchQueue, InProcessQueue, WorkerQueue
from mien.models.reader.loader.loader import Loader, LoaderSpec
from mien.models.reader.loader.ranks import agree, find_rank
from mien.models.reader.order.plan import MAX_WEIGHTED
from mien.models.reader.order.steps import Tail
from mien.models.reader.selection import Selection
from mien.models.reader.store.prefetcher import Prefetcher, sparse_shards
from mien.models.reader.store.shard_source import ShardSource, ShardSourceSpec

__all__ = ["Loader", "RawSample", "ShardReader", "Window"]

SHUFFLE_WINDOW = 4096
_LOOKUP_SAMPLES = 256
"""Samples whose numbers are looked up together."""


class ShardReader:
    """The samples of one corpus or several.

    `corpora`: a folder or URI, or several, or a mapping of each to its weight. Without weights an epoch has
    every sample once. With weights an epoch has as many samples as the corpora have together, and each
    corpus gets its share (see `MixedPlan` in order/plan.py).
    `fields`: the contents of a batch, as names or `Field` objects.
    `collate`: instead of `fields`, an object that makes batches.
    `windows`: read a window of each clip instead of the whole clip.
    `where`: a filter on columns of the index (corpus/where.py).
    `seed`: determines the order and the windows.
    `shuffle_window`: samples that are shuffled together; 0 keeps the stored order.
    `on_error`: "raise" or "skip". "skip" replaces an unreadable sample with another one of its batch, marks
    it as not `valid`, and counts it in `Loader.skipped`, so every rank keeps the same number of steps.
    `verify`: compare each sample with its CRC-32, if the index has one, when it is first read.
    `cache_dir`: folder of the indexes and of remote shards. `cache_bytes`: limit of cached shards per corpus.
    `ranged_below`: fetch single members of a remote shard if less than this share of the shard is needed.
    `timeout_seconds`: limit for building a batch and for waiting on another process that fetches a shard.
    `storage_options`: see `mien.ingest.storage.open_store`.

    Raises:
        NoSamplesError: there is no shard, or no sample passes the filter.
        FilterError: `where` is invalid.
        SidecarError, SidecarVersionError: a shard's index is damaged, or has another schema.
        StorageError: the store cannot be read.
        UsageError: an argument is invalid.
    """

    def __init__(
        self,
        corpora: str | Path | Sequence[str | Path] | Mapping[str, float],
        fields: Sequence[str | Field[Any]] | None = None,
        *,
        windows: Window | None = None,
        collate: Collate | None = None,
        where: str | None = None,
        seed: int = 0,
        shuffle_window: int = SHUFFLE_WINDOW,
        on_error: OnError = "raise",
        verify: bool = True,
        cache_dir: str | Path | None = None,
        cache_bytes: int = 64 << 30,
        ranged_below: float = 0.1,
        timeout_seconds: float = 300.0,
        storage_options: Mapping[str, Any] | None = None,
    ) -> None:
        if fields is not None and collate is not None:
            raise UsageError("fields and collate exclude each other; give one of them")
        if on_error not in {"raise", "skip"}:
            raise UsageError(f"on_error must be 'raise' or 'skip'; got {on_error!r}")
        if shuffle_window < 0 or cache_bytes < 0 or timeout_seconds <= 0:
            raise UsageError(
                "shuffle_window and cache_bytes must be at least 0, and timeout_seconds positive; "
                f"got {shuffle_window = }, {cache_bytes = }, {timeout_seconds = }"
            )
        uris, weights = _uris_and_weights(corpora)
        self._collate = Collator(fields, windows) if fields is not None else collate
        self._seed, self._on_error, self._verify = seed, on_error, verify
        self._timeout_seconds, self._cache_bytes = timeout_seconds, cache_bytes
        self._ranged_below = ranged_below
        self._options = dict(storage_options or {})
        self._cache = (Path(cache_dir) if cache_dir else default_cache()).absolute()
        opened = tuple(
            open_corpus(uri, where=where, cache=self._cache, options=self._options) for uri in uris
        )
        self._selection = Selection(opened, weights, shuffle_window)

    def __len__(self) -> int:
        """Samples that pass the filter."""
        return len(self._selection)

    @property
    def manifest_hash(self) -> str:
        """Identifies the shards by name and content."""
        return self._selection.manifest_hash

    @property
    def corpora(self) -> tuple[Corpus, ...]:
        return self._selection.corpora

    def loader(
        self,
        *,
        global_batch: int,
        workers: int = 0,
        rank: int | None = None,
        world: int | None = None,
        tail: Tail = "pad",
        prefetch: int = 2,
        copy: bool = False,
        tensors: bool | None = None,
    ) -> Loader:
        """A loader of one rank's batches.

        `global_batch`: samples per step over all ranks.
        `workers`: worker processes that build batches; 0 builds them in this process.
        `rank`, `world`: default to those of torch.distributed, else of torchrun's environment. All ranks must
        create their loaders together, because they agree on the shards.
        `tail`: what happens to samples that do not fill the last batch (order/steps.py).
        `prefetch`: batches that each worker builds ahead.
        `copy`: return batches in memory of their own.
        `tensors`: torch tensors or numpy arrays; None means tensors if torch is installed.

        Raises UsageError, ManifestChangedError (the ranks cannot agree on the shards), StorageError.
        """
        if self._collate is None:
            raise UsageError("a loader needs fields; pass fields=[…] to ShardReader")
        rank, world = find_rank(rank, world)
        selection = agree(self._selection)
        selection.store_manifest(self._cache)
        spec = LoaderSpec(
            seed=self._seed,
            global_batch=global_batch,
            rank=rank,
            world=world,
            tail=tail,
            copy=copy,
            tensors=importlib.util.find_spec("torch") is not None if tensors is None else tensors,
            cache=self._cache,
        )
        queue: BatchQueue
        if workers:
            queue = WorkerQueue(
                self._specs,
                tuple(len(corpus.index) for corpus in self.corpora),
                self._collate,
                workers=workers,
                prefetch=prefetch,
                on_error=self._on_error,
                verify=self._verify,
                timeout_seconds=self._timeout_seconds,
            )
        else:
            queue = InProcessQueue(
                BatchBuilder(self._sources(self._collate.members), self._collate, self._on_error)
            )
        try:
            return Loader(selection, queue, spec, prefetcher=self._prefetcher())
        except BaseException:
            queue.close()
            raise

    def samples(self, *, epoch: int = 0, start: int = 0, stop: int | None = None) -> Iterator[RawSample]:
        """Raw samples at the positions [start, stop) of an epoch, undecoded, in the loader's order.

        Raises DamagedSampleError (also with on_error="skip"), StorageError.
        """
        plan = self._selection.plan(self._seed)
        sources = self._raw_sources
        end = len(plan) if stop is None else min(stop, len(plan))
        for first in range(start, end, _LOOKUP_SAMPLES):
            ids = self._selection.sample_ids(plan.choose(epoch, first, min(end, first + _LOOKUP_SAMPLES)))
            for corpus, sample, sample_epoch in zip(
                ids.corpora.tolist(), ids.samples.tolist(), ids.epochs.tolist(), strict=True
            ):
                yield sources[corpus].read(sample, epoch=sample_epoch, seed=self._seed)

    def raw(self, key: str) -> RawSample:
        """The sample with this key, whether or not it passes the filter.

        Raises UnknownKeyError, and the errors of `samples`.
        """
        for number, corpus in enumerate(self.corpora):
            found = corpus.index.find(key)
            if found is not None:
                return self._raw_sources[number].read(found, epoch=0, seed=self._seed)
        uris = ", ".join(redact(corpus.store.uri) for corpus in self.corpora)
        raise UnknownKeyError(f"no sample {key!r} in {uris}; `mien shards ls` lists the keys")

    def __getitem__(self, key: str) -> dict[str, Any]:
        """The decoded sample with this key: see `raw`."""
        if self._collate is None:
            raise UsageError("decoding needs fields; pass fields=[…] to ShardReader, or use raw(key)")
        return self._collate.one(self.raw(key))

    @cached_property
    def _raw_sources(self) -> list[ShardSource]:
        return self._sources(None)

    def _sources(self, members: frozenset[str] | None) -> list[ShardSource]:
        return [
            ShardSource(
                spec, corpus=number, members=members, checked=self._checked_marks(corpus), index=corpus.index
            )
            for number, (spec, corpus) in enumerate(zip(self._specs, self.corpora, strict=True))
        ]

    def _checked_marks(self, corpus: Corpus) -> npt.NDArray[np.uint8] | None:
        return np.zeros(len(corpus.index), np.uint8) if self._verify else None

    @cached_property
    def _specs(self) -> tuple[ShardSourceSpec, ...]:
        return tuple(
            ShardSourceSpec(
                uri=corpus.store.uri,
                index=corpus.index.folder,
                options=self._options if not isinstance(corpus.store, LocalStore) else {},
                cache=self._cache / "shards" / corpus.index.folder.parent.name,
                cache_bytes=self._cache_bytes,
                timeout_seconds=self._timeout_seconds,
                ranged=self._ranged(corpus),
            )
            for corpus in self.corpora
        )

    def _ranged(self, corpus: Corpus) -> npt.NDArray[np.bool_] | None:
        if self._collate is None or isinstance(corpus.store, LocalStore):
            return None
        return sparse_shards(corpus, self._collate.members, self._ranged_below)

    def _prefetcher(self) -> Prefetcher | None:
        remote = [
            None if isinstance(corpus.store, LocalStore) else spec
            for spec, corpus in zip(self._specs, self.corpora, strict=True)
        ]
        return Prefetcher(remote, self.corpora) if any(remote) else None


def _uris_and_weights(
    corpora: str | Path | Sequence[str | Path] | Mapping[str, float],
) -> tuple[list[str], tuple[float, ...] | None]:
    if isinstance(corpora, str | Path):
        return [str(corpora)], None
    if isinstance(corpora, Mapping):
        if not corpora or any(not 0 < weight < float("inf") for weight in corpora.values()):
            raise UsageError(
                f"weights must be positive numbers, for at least one corpus; got {dict(corpora)!r:.200}"
            )
        if len(corpora) > MAX_WEIGHTED:
            raise UsageError(
                f"at most {MAX_WEIGHTED} corpora can have weights, got {len(corpora)}; combine some"
            )
        return [str(uri) for uri in corpora], tuple(float(weight) for weight in corpora.values())
    if not corpora:
        raise UsageError("no corpus given; pass a folder or URI, or several")
    return [str(uri) for uri in corpora], None
