"""Distant shards are fetched before their turn comes; and which of them are not worth fetching whole."""

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
from mien.models.reader.locks import logger
from mien.models.reader.store.cache import CachedFiles, ShardCache
from mien.models.reader.store.shard_source import ShardSourceSpec

THREADS = 4
WINDOWS = 3
"""As many windows' shards must fit the cache; in a smaller one this would drive out what is next."""


def sparse_shards(corpus: Corpus, members: frozenset[str], below: float) -> npt.NDArray[np.bool_]:
    """(shards,) True where less than `below` of the tar is wanted: those members of the kept samples."""
    index = corpus.index
    kept = np.arange(len(index), dtype=np.int64) if corpus.kept is None else corpus.kept
    wanted = np.zeros(len(kept), np.int64)
    for name in members & index.extensions:
        for batch, sizes in enumerate(index.numbers(f"size.{name}")):
            mine = slice(*np.searchsorted(kept, [batch * BATCH_ROWS, (batch + 1) * BATCH_ROWS]))
            wanted[mine] += np.maximum(sizes[kept[mine] - batch * BATCH_ROWS], 0)
    by_shard = np.bincount(index.shards_of(kept), weights=wanted, minlength=len(index.names))
    return np.asarray(by_shard < below * index.tar_bytes, np.bool_)


class Prefetcher:
    """Fetches shards of distant corpora into the cache, a few at once, in the order in which they are told.

    `specs`: None for a corpus that lies on this machine.
    """

    def __init__(self, specs: Sequence[ShardSourceSpec | None], corpora: Sequence[Corpus]) -> None:
        self._specs, self._corpora = specs, corpora
        self._pool = ThreadPoolExecutor(THREADS, "mien-ahead")
        self._lock = threading.Lock()
        self._asked: set[tuple[int, int]] = set()
        self._waiting: deque[tuple[int, int]] = deque()
        """Not in the pool: an interpreter that ends waits for all that its pools were given."""
        self._under_way = 0
        self._files = [
            None if spec is None else _files(spec, corpus)
            for spec, corpus in zip(specs, corpora, strict=True)
        ]

    def tell(self, corpora: Int64, samples: Int64) -> None:
        """These samples come next; what was told before, and has not begun, is forgotten."""
        coming = dict.fromkeys(self._shards(corpora, samples))
        for number, spec in enumerate(self._specs):
            if spec is not None:
                sizes = self._corpora[number].index.tar_bytes
                needed = sum(int(sizes[shard]) for corpus, shard in coming if corpus == number)
                if needed * WINDOWS > spec.cache_bytes:
                    return
        with self._lock:
            known = self._asked.difference(self._waiting)  # fetched, or under way
            self._waiting = deque(each for each in coming if each not in known)
            self._asked = set(coming)
            more = min(THREADS - self._under_way, len(self._waiting))
            self._under_way += more
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
        except RuntimeError:  # closed, or the interpreter is about to end
            with self._lock:
                self._under_way -= 1

    def _fetch_next(self) -> None:
        with self._lock:
            if not self._waiting:
                self._under_way -= 1
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
            # Whoever needs the shard meets the same, and says it as his settings want it.
            logger.info("fetching ahead: %s", error)

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
