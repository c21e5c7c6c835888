"""From a sample's number to its members, whole and checked, or to an error that names it."""

from __future__ import annotations

import time
import zlib
from bisect import bisect_right
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.errors import (
    DamagedSampleError,
    MissingShardError,
    ShardUnavailableError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageMissingError,
    TruncatedShardError,
    WrongBytesError,
)
from mien.ingest.storage import Store, open_store
from mien.ingest.storage.local import LocalStore
from mien.ingest.storage.location import secrets_of
from mien.models.reader.corpus.index import BATCH_ROWS, Index
from mien.models.reader.data import RawSample
from mien.models.reader.locks import logger
from mien.models.reader.order.rng import sample_seed
from mien.models.reader.store.cache import (
    CachedFiles,
    DamagedDownloadError,
    NoRoomError,
    ShardCache,
    TruncatedDownloadError,
)
from mien.models.reader.store.mapped import LocalFiles, MappedTar, MappedTars

OPEN_LOCAL, OPEN_CACHED = 128, 16
"""Tars that one process keeps mapped; of cached ones fewer, since what is mapped cannot make room."""
RANGED_THREADS = 16
ASK_AGAIN_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Lost:
    """A distant shard that could not be had."""

    kind: type[DamagedSampleError]
    why: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSourceSpec:
    """What a process needs to read one corpus. Travels to workers, and may hold credentials: not shown."""

    uri: str
    index: Path
    options: Mapping[str, Any] = field(repr=False)
    cache: Path
    cache_bytes: int
    timeout_seconds: float
    ranged: npt.NDArray[np.bool_] | None
    """(shards,) those of which single members are fetched; None: no shard."""


class ShardSource:
    """One corpus' samples.

    `members`: extensions that are wanted, None for all. `checked`: (samples,) marks of what has been compared
    with its CRC-32, which this one reads and sets; None: nothing is compared.
    """

    def __init__(
        self,
        spec: ShardSourceSpec,
        *,
        corpus: int,
        members: frozenset[str] | None,
        checked: npt.NDArray[np.uint8] | None,
        index: Index | None = None,
    ) -> None:
        self.index = index or Index(spec.index)
        self._spec, self._corpus, self.checked = spec, corpus, checked
        self._first_row: list[int] = self.index.first_row.tolist()
        self._tar_bytes: list[int] = self.index.tar_bytes.tolist()
        wanted = sorted(self.index.extensions if members is None else members & self.index.extensions)
        self._places = [
            (name, self.index.numbers(f"offset.{name}"), self.index.numbers(f"size.{name}"))
            for name in wanted
        ]
        self._crcs = {name: self.index.numbers(f"crc32.{name}") for name in wanted}
        self._store = open_store(spec.uri, **spec.options)
        self._cached: CachedFiles | None = None
        self._spoilt: set[int] = set()
        if isinstance(self._store, LocalStore):
            self._tars = MappedTars(LocalFiles(self._store.folder, self.index.names), OPEN_LOCAL)
        else:
            cache = ShardCache(
                self._store,
                spec.cache,
                max_bytes=spec.cache_bytes,
                timeout_seconds=spec.timeout_seconds,
                secrets=secrets_of(dict(spec.options)),
                release=lambda: self._tars.clear(),  # noqa: PLW0108 - made below
            )
            self._cached = CachedFiles(cache, self.index)
            self._tars = MappedTars(self._cached, OPEN_CACHED)
        self._pool: ThreadPoolExecutor | None = None
        self._cramped = False
        self._lost: dict[int, _Lost] = {}

    def shard_of(self, sample: int) -> int:
        return bisect_right(self._first_row, sample) - 1

    def read(self, sample: int, *, epoch: int, seed: int) -> RawSample:
        """Raises DamagedSampleError (its subclasses tell why), StorageDeniedError, StorageFullError,
        LoaderTimeoutError."""
        key = self.index.key(sample)
        shard = self.shard_of(sample)
        batch, row = divmod(sample, BATCH_ROWS)
        places = {
            name: (offset, int(sizes[batch][row]))
            for name, offsets, sizes in self._places
            if (offset := int(offsets[batch][row])) >= 0
        }
        found = self._members(key, shard, places)
        if self.checked is not None and not self.checked[sample]:
            try:
                self._check(key, shard, found, batch, row)
            except WrongBytesError:
                if not self._refetched(shard):
                    raise
                found = self._members(key, shard, places)
                self._check(key, shard, found, batch, row)
            self.checked[sample] = 1
        return RawSample(
            key=key,
            corpus=self._corpus,
            members=found,
            row=self.index.row(sample),
            seed=sample_seed(seed, epoch, key),
        )

    def read_many(
        self, samples: Sequence[int], epochs: Sequence[int], *, seed: int, tolerant: bool = True
    ) -> list[RawSample | DamagedSampleError]:
        """In order; what cannot be read comes as its error, if `tolerant`. Raises what `read` raises else."""
        read = self._read_or_error if tolerant else self._read
        ranged = [self._is_ranged(self.shard_of(sample)) for sample in samples]
        waiting: list[Future[RawSample | DamagedSampleError] | None] = [None] * len(samples)
        if any(ranged):
            self._pool = self._pool or ThreadPoolExecutor(RANGED_THREADS, "mien-ranged")
            for number, sample in enumerate(samples):
                if ranged[number]:
                    waiting[number] = self._pool.submit(read, sample, epochs[number], seed)
        return [
            read(sample, epoch, seed) if future is None else future.result()
            for sample, epoch, future in zip(samples, epochs, waiting, strict=True)
        ]

    def close(self) -> None:
        self._tars.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _is_ranged(self, shard: int) -> bool:
        return self._spec.ranged is not None and bool(self._spec.ranged[shard])

    def _read_or_error(self, sample: int, epoch: int, seed: int) -> RawSample | DamagedSampleError:
        try:
            return self.read(sample, epoch=epoch, seed=seed)
        except DamagedSampleError as error:
            return error

    def _read(self, sample: int, epoch: int, seed: int) -> RawSample | DamagedSampleError:
        return self.read(sample, epoch=epoch, seed=seed)

    def _members(self, key: str, shard: int, places: dict[str, Place]) -> dict[str, memoryview]:
        lost = self._lost.get(shard)
        if lost is not None:
            if time.monotonic() < lost.until:
                raise lost.kind(key, lost.why)
            self._lost.pop(shard, None)  # threads of one batch may all come here
        name = f"{self._store.uri}/{self.index.names[shard]}"
        try:
            return self._found(key, shard, places, name)
        except (StorageDeniedError, StorageFullError):
            raise  # of no sample's making, and every other would meet it, too
        except (OSError, StorageError) as error:
            kind, why = _meaning(error, name)
            if not isinstance(self._store, LocalStore):
                # A store that was asked for minutes in vain is not asked again for each sample of the shard.
                self._lost[shard] = _Lost(kind, why, time.monotonic() + ASK_AGAIN_SECONDS)
            raise kind(key, why) from error

    def _found(self, key: str, shard: int, places: dict[str, Place], name: str) -> dict[str, memoryview]:
        end = max((offset + size for offset, size in places.values()), default=0)
        tar = None if self._is_ranged(shard) else self._mapped(shard)
        if tar is None:
            found = read_members(self._store, self.index.names[shard], places)
            if any(len(found[member]) < size for member, (_, size) in places.items()):
                raise TruncatedShardError(key, f"{name} ends before byte {end}; fetch or write it again")
            return found
        have, committed = tar.size, self._tar_bytes[shard]
        if min(have, len(tar.view)) < end:
            raise TruncatedShardError(
                key, f"{name} has {have} bytes and ends before byte {end}; fetch or write it again"
            )
        if have > committed >= 0:
            raise WrongBytesError(key, f"{name} has {have} bytes, committed were {committed}; fetch it again")
        view = tar.view
        return {member: view[offset : offset + size] for member, (offset, size) in places.items()}

    def _mapped(self, shard: int) -> MappedTar | None:
        """None where a whole shard has no room: what its samples need is then fetched alone."""
        try:
            return self._tars[shard]
        except NoRoomError as error:
            if not self._cramped:
                logger.warning("%s", error)
            self._cramped = True
            return None

    def _refetched(self, shard: int) -> bool:
        """Whether another copy may be read: this machine's disk has spoilt the one that was checked when it
        came. Once a shard and process: one that is wrong itself is not fetched for each sample."""
        if self._cached is None or self._is_ranged(shard) or shard in self._spoilt:
            return False
        self._spoilt.add(shard)
        logger.warning("%s in the cache is damaged; it is fetched again", self.index.names[shard])
        self._tars.drop(shard)
        self._cached.discard(shard)
        return True

    def _check(self, key: str, shard: int, members: Mapping[str, memoryview], batch: int, row: int) -> None:
        for name, data in members.items():
            told = self._crcs[name]
            if told and (crc := int(told[batch][row])) >= 0 and zlib.crc32(data) != crc:
                raise WrongBytesError(
                    key,
                    f"{name} in {self._store.uri}/{self.index.names[shard]} is not what was committed "
                    f"(CRC-32); fetch or write it again",
                )


def _meaning(error: OSError | StorageError, name: str) -> tuple[type[DamagedSampleError], str]:
    if isinstance(error, FileNotFoundError | StorageMissingError):
        return MissingShardError, f"{name} is not there any more; bring it back or skip it"
    if isinstance(error, TruncatedDownloadError):
        return TruncatedShardError, f"{error}; write it again"
    if isinstance(error, DamagedDownloadError):
        return WrongBytesError, f"{error}; write it again"
    if isinstance(error, StorageError):
        return ShardUnavailableError, str(error)
    return ShardUnavailableError, f"{name}: {error.strerror or error}; look at the disk"


GAP_BYTES = 64 << 10
"""Less than this between two members is fetched along: another request would take longer."""

Place = tuple[int, int]


def read_members(store: Store, name: str, places: Mapping[str, Place]) -> dict[str, memoryview]:
    """Extension to content; shorter than told where the tar ends before.

    Raises StorageMissingError, StorageError.
    """
    runs: list[tuple[int, int, list[str]]] = []
    for extension, (offset, size) in sorted(places.items(), key=lambda item: item[1]):
        end = offset + size
        if runs and offset - runs[-1][1] <= GAP_BYTES:
            first, last, names = runs[-1]
            runs[-1] = first, max(last, end), [*names, extension]
        else:
            runs.append((offset, end, [extension]))
    found = {}
    for first, last, names in runs:
        data = memoryview(store.read(name, first, last - first))
        for extension in names:
            offset, size = places[extension]
            found[extension] = data[offset - first : offset - first + size]
    return {extension: found[extension] for extension in places}
