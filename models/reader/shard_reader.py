"""Shards to training batches: exact, resumable at any step on any number of ranks, and fast.

    reader = ShardReader("s3://corpus/shards", fields=["faces", "audio", "text"], seed=7,
                         where="face_size_pixels > 96 and language == 'en'")
    with reader.loader(global_batch=256, workers=8) as loader:
        for epoch in range(loader.epoch, 10):
            for batch in loader:
                …
                state = loader.state_dict()     # any time; load_state_dict(state) goes on after this batch

It reads the tars as they are: of mien, by their sidecars, or any WebDataset, whose index is made at first.
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
from mien.models.reader.order.plan import MOST_CORPORA
from mien.models.reader.order.steps import Tail
from mien.models.reader.selection import Selection
from mien.models.reader.store.prefetcher import Prefetcher, sparse_shards
from mien.models.reader.store.shard_source import ShardSource, ShardSourceSpec

__all__ = ["Loader", "RawSample", "ShardReader", "Window"]

SHUFFLE_WINDOW = 4096
_READ_AHEAD = 256
"""Samples whose places are looked up at once."""


class ShardReader:
    """The samples of one corpus or several.

    `corpora`: a folder or URI, or several; with weights as a mapping of each to its weight. Without weights
    an epoch has every sample once. With them it is as many samples as there are, of each corpus its share
    (see models/reader/order/plan.py).
    `fields`: what batches are made of, by name or as a `Field`; or `collate`, which then makes them.
    `windows`: a stretch of each clip instead of the whole.
    `where`: a filter on the index's columns (models/reader/corpus/where.py).
    `seed`: of the order and of the windows. `shuffle_window`: samples that are shuffled together; 0 leaves
    them as they lie.
    `on_error`: "raise", or "skip": a sample that cannot be had is then replaced by another one of its batch,
    marked as not `valid`, and counted in `Loader.skipped`. So no rank ever has a step fewer than another.
    `verify`: compares each sample with its CRC-32, where the index has that, when it is first read.
    `cache_dir`: of indexes and of distant shards, of which at most `cache_bytes` are kept for each corpus.
    `ranged_below`: of a distant shard of which less than this part is wanted, single members are fetched.
    `timeout_seconds`: as long may a batch take, or another process that fetches a shard, before an error
    says what was waited for.
    `storage_options`: see `mien.ingest.storage.open_store`.

    Raises:
        NoSamplesError: no shard, or no sample that passes the filter.
        FilterError: `where` is not understood.
        SidecarError, SidecarVersionError: a shard's index is damaged, or of another schema.
        StorageError: the store refuses. UsageError: see above.
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
            raise UsageError("fields and collate both say what a batch is made of; give one of them")
        if on_error not in {"raise", "skip"}:
            raise UsageError(f"on_error is 'raise' or 'skip'; got {on_error!r}")
        if shuffle_window < 0 or cache_bytes < 0 or timeout_seconds <= 0:
            raise UsageError(
                f"these are not negative: got {shuffle_window = }, {cache_bytes = }, {timeout_seconds = }"
            )
        uris, weights = _weighed(corpora)
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
        """Samples that the filter keeps."""
        return len(self._selection)

    @property
    def manifest_hash(self) -> str:
        """Of the shards, by name and content."""
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
        """Batches for one rank.

        `global_batch`: samples of a step over all ranks. `rank`, `world`: where they are not given, those of
        torch.distributed, else of torchrun's environment; all ranks make their loaders together then.
        `tail`: what becomes of the samples that do not fill a batch (models/reader/order/steps.py).
        `workers`: decoding processes; 0 decodes in this one. `prefetch`: batches that each of them is given
        ahead, each with its memory. `copy`: batches in memory of their own. `tensors`: torch's, or numpy's
        arrays; None means torch's where it is installed.

        Raises UsageError, ManifestChangedError (ranks that cannot agree on the shards), StorageError.
        """
        if self._collate is None:
            raise UsageError("a loader needs fields; give fields=[…] to the reader")
        rank, world = find_rank(rank, world)
        selection = agree(self._selection)
        selection.remember(self._cache)
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
            return Loader(selection, queue, spec, ahead=self._ahead())
        except BaseException:
            queue.close()
            raise

    def samples(self, *, epoch: int = 0, start: int = 0, stop: int | None = None) -> Iterator[RawSample]:
        """Raw samples at the positions [start, stop) of an epoch, whole and undecoded, in the loader's order.

        Raises DamagedSampleError whatever `on_error` says, StorageError.
        """
        plan = self._selection.plan(self._seed)
        sources = self._raw_sources
        end = len(plan) if stop is None else min(stop, len(plan))
        for first in range(start, end, _READ_AHEAD):
            picks = self._selection.picks(plan.choose(epoch, first, min(end, first + _READ_AHEAD)))
            for corpus, sample, turn in zip(
                picks.corpora.tolist(), picks.samples.tolist(), picks.epochs.tolist(), strict=True
            ):
                yield sources[corpus].read(sample, epoch=turn, seed=self._seed)

    def raw(self, key: str) -> RawSample:
        """The sample of this key, whether or not the filter keeps it. Raises UnknownKeyError, and what
        `samples` raises."""
        for number, corpus in enumerate(self.corpora):
            found = corpus.index.find(key)
            if found is not None:
                return self._raw_sources[number].read(found, epoch=0, seed=self._seed)
        where = ", ".join(redact(corpus.store.uri) for corpus in self.corpora)
        raise UnknownKeyError(f"no sample {key!r} in {where}; `mien shards ls` lists the keys")

    def __getitem__(self, key: str) -> dict[str, Any]:
        """`raw`, decoded."""
        if self._collate is None:
            raise UsageError("decoding needs fields; give fields=[…] to the reader, or ask for raw(key)")
        return self._collate.one(self.raw(key))

    @cached_property
    def _raw_sources(self) -> list[ShardSource]:
        return self._sources(None)

    def _sources(self, members: frozenset[str] | None) -> list[ShardSource]:
        return [
            ShardSource(spec, corpus=number, members=members, checked=self._marks(corpus), index=corpus.index)
            for number, (spec, corpus) in enumerate(zip(self._specs, self.corpora, strict=True))
        ]

    def _marks(self, corpus: Corpus) -> npt.NDArray[np.uint8] | None:
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

    def _ahead(self) -> Prefetcher | None:
        distant = [
            None if isinstance(corpus.store, LocalStore) else spec
            for spec, corpus in zip(self._specs, self.corpora, strict=True)
        ]
        return Prefetcher(distant, self.corpora) if any(distant) else None


def _weighed(
    corpora: str | Path | Sequence[str | Path] | Mapping[str, float],
) -> tuple[list[str], tuple[float, ...] | None]:
    if isinstance(corpora, str | Path):
        return [str(corpora)], None
    if isinstance(corpora, Mapping):
        if not corpora or any(not 0 < weight < float("inf") for weight in corpora.values()):
            raise UsageError(
                f"weights are numbers above 0, of one corpus at least; got {dict(corpora)!r:.200}"
            )
        if len(corpora) > MOST_CORPORA:
            raise UsageError(f"at most {MOST_CORPORA} corpora can be weighed, got {len(corpora)}; join some")
        return [str(uri) for uri in corpora], tuple(float(weight) for weight in corpora.values())
    if not corpora:
        raise UsageError("no corpus was given; give a folder or a URI, or several")
    return [str(uri) for uri in corpora], None
