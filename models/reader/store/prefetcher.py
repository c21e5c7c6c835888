"""Downloads remote shards before they are needed, and finds the shards too sparse to download completely."""

from __future__ import annotations

import os
import threading
from collections import deque
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import MienError
from mien.ingest.storage import open_store
from mien.ingest.storage.location import secrets_of
from mien.models.reader.corpus.corpus import Corpus
from mien.models.reader.corpus.index import BATCH_ROWS, Int64
from mien.models.reader.log import logger
from mien.models.reader.store.cache import CachedFiles, ShardCache
from mien.models.reader.store.shard_source import ShardSourceSpec

THREADS = 4
WINDOWS = 3
"""The shards of this many shuffle windows must fit into the cache. In a smaller cache, prefetching would
evict shards that are needed next."""


def sparse_shards(corpus: Corpus, members: frozenset[str], below: float) -> npt.NDArray[np.bool_]:
    """(shards,) True if less than `below` of the tar is needed: these members of the selected samples."""
    index = corpus.index
    selected = np.arange(len(index), dtype=np.int64) if corpus.selected is None else corpus.selected
    needed = np.zeros(len(selected), np.int64)
    for name in members & index.extensions:
        for batch, sizes in enumerate(index.numbers(f"size.{name}")):
            mine = slice(*np.searchsorted(selected, [batch * BATCH_ROWS, (batch + 1) * BATCH_ROWS]))
            needed[mine] += np.maximum(sizes[selected[mine] - batch * BATCH_ROWS], 0)
    by_shard = np.bincount(index.shards_of(selected), weights=needed, minlength=len(index.names))
    return np.asarray(by_shard < below * index.tar_bytes, np.bool_)


class Prefetcher:
    """Downloads shards of remote corpora into the cache, a few at a time, in the announced order.

    `specs`: None for a local corpus.
    """

    def __init__(self, specs: Sequence[ShardSourceSpec | None], corpora: Sequence[Corpus]) -> None:
        self._specs, self._corpora = specs, corpora
        self._pool = ThreadPoolExecutor(THREADS, "mien-prefetch")
        self._lock = threading.Lock()
        self._announced: set[tuple[int, int]] = set()
        self._waiting: deque[tuple[int, int]] = deque()
        """Kept outside the pool, because at exit the interpreter waits for everything submitted to a pool."""
        self._in_progress = 0
        self._files = [
            None if spec is None else _files(spec, corpus)
            for spec, corpus in zip(specs, corpora, strict=True)
        ]

    def announce(self, corpora: Int64, samples: Int64) -> None:
        """Declares the samples that come next. Downloads announced earlier and not yet started are
        dropped."""
        next_shards = dict.fromkeys(self._shards(corpora, samples))
        for number, spec in enumerate(self._specs):
            if spec is not None:
                sizes = self._corpora[number].index.tar_bytes
                needed = sum(int(sizes[shard]) for corpus, shard in next_shards if corpus == number)
                if needed * WINDOWS > spec.cache_bytes:
                    return
        with self._lock:
            started = self._announced.difference(self._waiting)
            self._waiting = deque(each for each in next_shards if each not in started)
            self._announced = set(next_shards)
            more = min(THREADS - self._in_progress, len(self._waiting))
            self._in_progress += more
        for _ in range(more):
            self._submit()

    def _shards(self, corpora: Int64, samples: Int64) -> Iterable[tuple[int, int]]:
        for number, spec in enumerate(self._specs):
            if spec is None:
                continue
            shards = self._corpora[number].index.shards_of(samples[corpora == number])
            for shard in dict.fromkeys(shards.tolist()):
                if spec.ranged is None or not spec.ranged[shard]:
                    yield number, shard

    def _submit(self) -> None:
        try:
            self._pool.submit(self._fetch_next)
        except RuntimeError:  # the pool is closed, or the interpreter is shutting down
            with self._lock:
                self._in_progress -= 1

    def _fetch_next(self) -> None:
        with self._lock:
            if not self._waiting:
                self._in_progress -= 1
                return
            corpus, shard = self._waiting.popleft()
        self._fetch(corpus, shard)
        self._submit()

    def _fetch(self, corpus: int, shard: int) -> None:
        files = self._files[corpus]
        try:
            if files is not None:
                os.close(files.open(shard)[0])
        except (MienError, OSError) as error:
            # The process that needs the shard gets the same error and handles it as configured.
            logger.info("prefetching: %s", error)

    def close(self) -> None:
        with self._lock:
            self._waiting.clear()
        self._pool.shutdown(wait=False, cancel_futures=True)


def _files(spec: ShardSourceSpec, corpus: Corpus) -> CachedFiles:
    cache = ShardCache(
        open_store(spec.uri, **spec.options),
        spec.cache,
        max_bytes=spec.cache_bytes,
        timeout_seconds=spec.timeout_seconds,
        secrets=secrets_of(dict(spec.options)),
    )
    return CachedFiles(cache, corpus.index)
