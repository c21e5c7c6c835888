"""The cache of remote shards holds only complete files, respects its limit, and never disturbs readers."""

from __future__ import annotations

import fcntl
import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from mien.ingest.errors import LoaderTimeoutError, StorageMissingError
from mien.ingest.storage import Store, open_store
from mien.models.reader.store.cache import NoRoomError, ShardCache

SIZE = 10_000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    store = open_store(str(tmp_path / "store"))
    for number in range(5):
        store.publish_bytes(bytes([number]) * SIZE, f"{number}.tar")
    return store


def cache(
    store: Store, size_in_shards: float = 2, *, timeout_seconds: float = 300.0, **options: Any
) -> ShardCache:
    folder = Path(store.uri).parent / "cache"
    return ShardCache(
        store, folder, max_bytes=int(size_in_shards * SIZE), timeout_seconds=timeout_seconds, **options
    )


def read_shard(shards: ShardCache, number: int) -> int:
    descriptor, path = shards.open(f"{number}.tar", size=SIZE, sha256="")
    assert path.read_bytes() == os.pread(descriptor, 2 * SIZE, 0) == bytes([number]) * SIZE
    return descriptor


def names(store: Store) -> set[str]:
    folder = Path(store.uri).parent / "cache"
    return {path.name for path in folder.iterdir() if not path.name.startswith(".")}


def test_evicts_least_recently_used(store: Store) -> None:
    shards = cache(store)
    for number in (0, 1, 0, 2):
        os.close(read_shard(shards, number))

    assert names(store) == {"0.tar", "2.tar"}


def test_never_evicts_shards_in_use(store: Store) -> None:
    shards, other = cache(store), cache(store)
    first, second = read_shard(shards, 0), read_shard(shards, 1)
    with pytest.raises(NoRoomError, match="cache_bytes"):
        read_shard(other, 2)
    assert names(store) == {"0.tar", "1.tar"}

    os.close(first)
    os.close(read_shard(other, 2))
    assert names(store) == {"1.tar", "2.tar"}
    os.close(second)


def test_releases_own_shards_for_room(store: Store) -> None:
    open_files: list[int] = []

    def release() -> None:
        while open_files:
            os.close(open_files.pop())

    shards = cache(store, release=release)
    open_files += [read_shard(shards, 0), read_shard(shards, 1)]
    os.close(read_shard(shards, 2))

    assert open_files == []


def test_takes_over_after_killed_downloader(store: Store) -> None:
    folder = Path(store.uri).parent / "cache"
    folder.mkdir()
    (folder / "0.tar.part").write_bytes(b"x" * SIZE)
    (folder / "1.tar.part").write_bytes(b"x" * SIZE)
    shards = cache(store)
    os.close(read_shard(shards, 0))
    os.close(read_shard(shards, 2))

    assert names(store) == {"0.tar", "2.tar"}


def test_waiting_for_downloader_times_out(store: Store) -> None:
    folder = Path(store.uri).parent / "cache"
    folder.mkdir()
    with (folder / "0.tar.part").open("wb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(LoaderTimeoutError, match=r"another process that downloads .*/0\.tar"):
            read_shard(cache(store, timeout_seconds=0.2), 0)


def test_missing_shard_leaves_no_file(store: Store) -> None:
    with pytest.raises(StorageMissingError):
        cache(store).open("7.tar", size=SIZE, sha256="")
    assert names(store) == set()


def _read_all(store_uri: str, results: Any, seed: int) -> None:
    store = open_store(store_uri)
    shards = cache(store, 2.5)
    for turn in range(30):
        number = (turn * seed) % 5
        try:
            os.close(read_shard(shards, number))
        except NoRoomError:
            results.put("no room")
            continue
        results.put(number)


def test_processes_share_cache_within_limit(store: Store) -> None:
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    readers = [context.Process(target=_read_all, args=(store.uri, results, seed)) for seed in (1, 2, 3)]
    for reader in readers:
        reader.start()
    read = [results.get(timeout=300) for _ in range(90)]
    for reader in readers:
        reader.join(timeout=300)

    assert {reader.exitcode for reader in readers} == {0}
    assert len([each for each in read if each != "no room"]) > 30
    assert len(names(store)) <= 2
