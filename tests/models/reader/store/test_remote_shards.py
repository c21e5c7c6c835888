"""A corpus in an object store gives the same batches as a folder, despite throttling and truncated downloads,
from a bounded cache or by ranged requests."""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from pyarrow.fs import AwsStandardS3RetryStrategy

from mien.ingest.errors import MissingShardError, ShardUnavailableError, WrongBytesError
from mien.ingest.storage import Store, open_store
from mien.models.reader.shard_reader import ShardReader
from tests.models.corpora import Numbers, check_content, numbers_of, write_corpus
from tests.models.process_resources import held
from tests.models.reader.store.throttling_gateway import Gateway, gateway
from tests.s3 import SECRET_KEY, S3Server

pytestmark = pytest.mark.slow
SIZES = [12, 9, 10, 11]
TOTAL = sum(SIZES)


@dataclass(frozen=True)
class RemoteCorpus:
    folder: Path
    store: Store
    options: dict[str, Any]
    gate: Gateway
    cache: Path

    def reader(self, collate: Numbers | None = None, **options: Any) -> ShardReader:
        options = {"ranged_below": 0.0, "shuffle_window": 16, **options}
        return ShardReader(
            self.store.uri,
            collate=collate or Numbers(),
            seed=7,
            cache_dir=self.cache,
            storage_options=self.options,
            **options,
        )

    def files(self) -> list[Path]:
        return sorted(path for path in self.cache.glob("shards/*/*") if path.stat().st_size)

    def names(self) -> list[str]:
        """Names of the cached shards; downloads in progress end in .part."""
        return [path.name if path.suffix == ".part" else path.name.split("@")[0] for path in self.files()]


@pytest.fixture
def remote(tmp_path: Path, s3_server: S3Server) -> Iterator[RemoteCorpus]:
    bucket = f"b{uuid.uuid4().hex}"
    s3_server.create_bucket(bucket)
    folder = write_corpus(tmp_path / "corpus", SIZES)
    store = open_store(f"s3://{bucket}/shards", **s3_server.options)
    for path in folder.iterdir():
        store.publish(path, path.name)
    with gateway(s3_server.endpoint) as gate:
        options = {**s3_server.options, "endpoint_override": gate.endpoint}
        yield RemoteCorpus(folder=folder, store=store, options=options, gate=gate, cache=tmp_path / "cache")


def local_batches(remote: RemoteCorpus) -> list[list[int]]:
    reader = ShardReader(
        remote.folder, collate=Numbers(), seed=7, shuffle_window=16, cache_dir=remote.cache / "local_batches"
    )
    return [batch["number"].tolist() for batch in reader.loader(global_batch=8)]


def read_batches(reader: ShardReader, workers: int = 0) -> list[list[int]]:
    found = []
    with reader.loader(global_batch=8, workers=workers) as loader:
        for batch in loader:
            check_content(batch)
            found.append(batch["number"].tolist())
    return found


@pytest.mark.parametrize("workers", [0, 2])
def test_remote_batches_equal_local_ones(remote: RemoteCorpus, workers: int) -> None:
    assert read_batches(remote.reader(), workers) == local_batches(remote)
    assert read_batches(remote.reader(), workers) == local_batches(remote)

    fetched = {
        path.rpartition("/")[2]: n for path, n in remote.gate.requests.items() if path.endswith(".tar")
    }
    assert fetched == {f"shard-{n:03d}.tar": 1 for n in range(len(SIZES))}
    assert remote.names() == sorted(fetched)


def test_prefetches_shards(remote: RemoteCorpus) -> None:
    """In stored order the first batch is from the first shard only."""
    reader = remote.reader(shuffle_window=0)
    with reader.loader(global_batch=8) as loader:
        assert numbers_of(next(iter(loader))) == list(range(8))
        deadline = time.monotonic() + 300
        while len([name for name in remote.names() if name.endswith(".tar")]) < 2:
            assert time.monotonic() < deadline, "no shard is prefetched"
            time.sleep(0.05)


@pytest.mark.parametrize(("shards", "workers"), [(0, 0), (2, 0), (1, 2), (3, 2)])
def test_small_cache_stays_within_limit(remote: RemoteCorpus, shards: int, workers: int) -> None:
    largest = max(path.stat().st_size for path in remote.folder.glob("*.tar"))
    reader = remote.reader(cache_bytes=shards * largest)

    assert read_batches(reader, workers) == local_batches(remote)
    assert sum(path.stat().st_size for path in remote.files()) <= shards * largest
    assert shards or not remote.files()
    if not workers:  # two processes may each evict the other's last shard
        assert bool(remote.files()) == bool(shards)


@pytest.mark.parametrize("workers", [0, 2])
def test_ranged_reads_only_needed_members(remote: RemoteCorpus, workers: int) -> None:
    collate = Numbers(members=frozenset({"json"}), noiseless=True)
    reader = remote.reader(collate, where="rows in (3, 30)", ranged_below=0.5)
    with reader.loader(global_batch=2, workers=workers) as loader:
        assert sorted(n for batch in loader for n in numbers_of(batch)) == [3, 30]

    assert remote.files() == []
    fetched = {path.rpartition("/")[2] for path in remote.gate.requests if path.endswith(".tar")}
    assert fetched == {"shard-000.tar", "shard-002.tar"}


@pytest.mark.parametrize("ranged_below", [0.0, 2.0])
def test_waits_out_throttling(remote: RemoteCorpus, ranged_below: float) -> None:
    reader = remote.reader(ranged_below=ranged_below)
    remote.gate.refuse = 5

    assert read_batches(reader) == local_batches(remote)
    assert remote.gate.refuse == 0


@pytest.mark.parametrize("ranged_below", [0.0, 2.0])
def test_retries_truncated_download(remote: RemoteCorpus, ranged_below: float) -> None:
    reader = remote.reader(ranged_below=ranged_below)
    remote.gate.cut = 3

    assert read_batches(reader) == local_batches(remote)
    assert remote.gate.cut == 0


@pytest.mark.parametrize("workers", [0, 1])
def test_names_unavailable_store_and_recovers(remote: RemoteCorpus, workers: int) -> None:
    # Count only mien's retries; Amazon's library would make three attempts of each, seconds apart.
    once = {"retry_strategy": AwsStandardS3RetryStrategy(max_attempts=1)}
    reader = replace(remote, options=remote.options | once).reader()
    remote.gate.refuse = -1
    with (
        reader.loader(global_batch=8, workers=workers) as loader,
        pytest.raises(
            ShardUnavailableError, match=r"SLOW_?DOWN|SERVICE_UNAVAILABLE|503|reduce your request rate"
        ) as caught,
    ):
        next(iter(loader))

    assert SECRET_KEY not in str(caught.value)
    assert "\n" not in str(caught.value)
    remote.gate.refuse = 0
    assert read_batches(reader, workers) == local_batches(remote)


def test_names_deleted_shard(remote: RemoteCorpus) -> None:
    reader = remote.reader()
    remote.store.delete("shard-001.tar")
    with pytest.raises(MissingShardError, match=r"shard-001\.tar"):
        read_batches(reader)

    skipping = remote.reader(on_error="skip")
    with skipping.loader(global_batch=8, workers=2) as loader:
        seen = sorted(n for batch in loader for n in numbers_of(batch))
    assert seen == [n for n in range(TOTAL) if not 12 <= n < 21]
    assert loader.skipped == {"MissingShardError": 9}


def test_rejects_wrong_bytes(remote: RemoteCorpus) -> None:
    data = bytearray((remote.folder / "shard-001.tar").read_bytes())
    data[700] ^= 1
    remote.store.delete("shard-001.tar")
    remote.store.publish_bytes(bytes(data), "shard-001.tar")

    with pytest.raises(WrongBytesError, match="sha256"):
        read_batches(remote.reader())
    assert "shard-001.tar" not in remote.names()


def test_refetches_truncated_cached_shard(remote: RemoteCorpus) -> None:
    read_batches(remote.reader())
    victim = remote.files()[0]
    victim.write_bytes(victim.read_bytes()[:100])

    assert read_batches(remote.reader()) == local_batches(remote)
    name, _, _ = victim.name.partition("@")
    assert remote.gate.requests[next(path for path in remote.gate.requests if path.endswith(name))] == 2


@pytest.mark.parametrize("workers", [0, 1])
def test_refetches_damaged_cached_shard(remote: RemoteCorpus, workers: int) -> None:
    read_batches(remote.reader())
    victim = remote.files()[0]
    data = bytearray(victim.read_bytes())
    data[700] ^= 1
    victim.write_bytes(data)

    assert read_batches(remote.reader(), workers) == local_batches(remote)


def test_replaced_foreign_shard_is_refetched(remote: RemoteCorpus) -> None:
    """Tars are padded to 10 kB, so a replacement often has the same size."""
    for path in remote.folder.glob("*.parquet"):
        remote.store.delete(path.name)
    read_batches(remote.reader())
    state = remote.reader().manifest_hash
    (remote.folder / "shard-000.tar").unlink()
    write_corpus(remote.folder, [SIZES[0]], first=1000)
    old = len(remote.store.read("shard-000.tar", 0, 1 << 30))
    data = (remote.folder / "shard-000.tar").read_bytes()
    remote.store.delete("shard-000.tar")
    time.sleep(1.1)  # the store reports modification times in whole seconds
    remote.store.publish_bytes(data, "shard-000.tar")
    assert len(data) == old

    reader = remote.reader()
    assert {n for batch in read_batches(reader) for n in batch} >= set(range(1000, 1000 + SIZES[0]))
    assert reader.manifest_hash != state


def test_leaves_no_resources(remote: RemoteCorpus) -> None:
    reader = remote.reader()
    before = held()
    read_batches(reader, workers=2)

    assert not held().since(before).workers
    assert list(remote.cache.glob("shards/*/*.part")) == []
    assert SECRET_KEY not in repr(reader._specs)
