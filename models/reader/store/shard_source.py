"""Reads a sample's members by its number and verifies them, or raises an error that names the sample."""

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
from mien.models.reader.log import logger
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
"""Tars that one process keeps mapped. Fewer cached ones, because a mapped shard cannot be evicted."""
RANGED_THREADS = 16
RETRY_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class _Unavailable:
    """A remote shard that could not be read, and when to try again."""

    kind: type[DamagedSampleError]
    why: str
    until: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardSourceSpec:
    """What a process needs to read one corpus. It is sent to workers. `options` may hold credentials, so it
    is left out of the repr."""

    uri: str
    index: Path
    options: Mapping[str, Any] = field(repr=False)
    cache: Path
    cache_bytes: int
    timeout_seconds: float
    ranged: npt.NDArray[np.bool_] | None
    """(shards,) True for shards whose members are fetched one by one; None: no shard."""


class ShardSource:
    """One corpus' samples.

    `members`: extensions to read, None for all. `checked`: (samples,) nonzero for samples already compared
    with their CRC-32; the source reads and sets these marks. None: nothing is compared.
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
        extensions = sorted(self.index.extensions if members is None else members & self.index.extensions)
        self._places = [
            (name, self.index.numbers(f"offset.{name}"), self.index.numbers(f"size.{name}"))
            for name in extensions
        ]
        self._crcs = {name: self.index.numbers(f"crc32.{name}") for name in extensions}
        self._store = open_store(spec.uri, **spec.options)
        self._cached: CachedFiles | None = None
        self._refetched_shards: set[int] = set()
        if isinstance(self._store, LocalStore):
            self._tars = MappedTars(LocalFiles(self._store.folder, self.index.names), OPEN_LOCAL)
        else:
            cache = ShardCache(
                self._store,
                spec.cache,
                max_bytes=spec.cache_bytes,
                timeout_seconds=spec.timeout_seconds,
                secrets=secrets_of(dict(spec.options)),
                release=lambda: self._tars.clear(),  # noqa: PLW0108 - set below
            )
            self._cached = CachedFiles(cache, self.index)
            self._tars = MappedTars(self._cached, OPEN_CACHED)
        self._pool: ThreadPoolExecutor | None = None
        self._warned_no_room = False
        self._unavailable: dict[int, _Unavailable] = {}

    def shard_of(self, sample: int) -> int:
        return bisect_right(self._first_row, sample) - 1

    def read(self, sample: int, *, epoch: int, seed: int) -> RawSample:
        """Raises DamagedSampleError (the subclass is the reason), StorageDeniedError, StorageFullError,
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
                if not self._discard_cached(shard):
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
        """The samples in order. If `tolerant`, an unreadable sample is returned as its error; otherwise
        raises like `read`."""
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
        failure = self._unavailable.get(shard)
        if failure is not None:
            if time.monotonic() < failure.until:
                raise failure.kind(key, failure.why)
            self._unavailable.pop(shard, None)  # several threads may get here at once
        name = f"{self._store.uri}/{self.index.names[shard]}"
        try:
            return self._read_places(key, shard, places, name)
        except (StorageDeniedError, StorageFullError):
            raise  # not specific to this sample: every other sample would fail as well
        except (OSError, StorageError) as error:
            kind, why = _sample_error(error, name)
            if not isinstance(self._store, LocalStore):
                # The retries may take minutes, so they are not repeated for each sample of the shard.
                self._unavailable[shard] = _Unavailable(kind, why, time.monotonic() + RETRY_SECONDS)
            raise kind(key, why) from error

    def _read_places(
        self, key: str, shard: int, places: dict[str, Place], name: str
    ) -> dict[str, memoryview]:
        end = max((offset + size for offset, size in places.values()), default=0)
        tar = None if self._is_ranged(shard) else self._mapped(shard)
        if tar is None:
            found = read_members(self._store, self.index.names[shard], places)
            if any(len(found[member]) < size for member, (_, size) in places.items()):
                raise TruncatedShardError(
                    key, f"{name} is truncated before byte {end}; download or regenerate it"
                )
            return found
        size, committed = tar.size, self._tar_bytes[shard]
        if min(size, len(tar.view)) < end:
            raise TruncatedShardError(
                key, f"{name} has {size} bytes and is truncated before byte {end}; download or regenerate it"
            )
        if size > committed >= 0:
            raise WrongBytesError(
                key, f"{name} has {size} bytes, the index says {committed}; download it again"
            )
        view = tar.view
        return {member: view[offset : offset + size] for member, (offset, size) in places.items()}

    def _mapped(self, shard: int) -> MappedTar | None:
        """None if the cache has no room for the shard. Then only the members that are needed are fetched."""
        try:
            return self._tars[shard]
        except NoRoomError as error:
            if not self._warned_no_room:
                logger.warning("%s", error)
            self._warned_no_room = True
            return None

    def _discard_cached(self, shard: int) -> bool:
        """Discards a cached copy that was verified when it was downloaded and is damaged now. Returns whether
        the sample can be read again. Only once per shard and process, because the stored shard itself may be
        damaged."""
        if self._cached is None or self._is_ranged(shard) or shard in self._refetched_shards:
            return False
        self._refetched_shards.add(shard)
        logger.warning("the cached copy of %s is damaged; downloading it again", self.index.names[shard])
        self._tars.drop(shard)
        self._cached.discard(shard)
        return True

    def _check(self, key: str, shard: int, members: Mapping[str, memoryview], batch: int, row: int) -> None:
        for name, data in members.items():
            crcs = self._crcs[name]
            if crcs and (crc := int(crcs[batch][row])) >= 0 and zlib.crc32(data) != crc:
                raise WrongBytesError(
                    key,
                    f"{name} in {self._store.uri}/{self.index.names[shard]} differs from what was committed "
                    f"(CRC-32); download or regenerate it",
                )


def _sample_error(error: OSError | StorageError, name: str) -> tuple[type[DamagedSampleError], str]:
    if isinstance(error, FileNotFoundError | StorageMissingError):
        return MissingShardError, f"{name} is missing; restore it, or use on_error='skip'"
    if isinstance(error, TruncatedDownloadError):
        return TruncatedShardError, f"{error}; regenerate it"
    if isinstance(error, DamagedDownloadError):
        return WrongBytesError, f"{error}; regenerate it"
    if isinstance(error, StorageError):
        return ShardUnavailableError, str(error)
    return ShardUnavailableError, f"{name}: {error.strerror or error}; check the disk"


GAP_BYTES = 64 << 10
"""A gap of at most this size between two members is fetched too, because another request would take
longer."""

Place = tuple[int, int]


def read_members(store: Store, name: str, places: Mapping[str, Place]) -> dict[str, memoryview]:
    """Single members by ranged requests: extension to content. A content is shorter than its place if the tar
    ends before.

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
