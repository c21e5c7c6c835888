"""Contract tests for every kind of store that is available here."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from mien.ingest.errors import StorageConflictError, StorageMissingError, UsageError
from mien.ingest.storage import Store, open_store

PART_AND_A_BIT = 11 << 20
"""More than one part of a multipart upload."""


@pytest.fixture(params=["local", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "local":
        yield open_store(str(tmp_path / "not" / "yet" / "there"))
        return
    server = request.getfixturevalue("s3_server")
    bucket = f"corpus-{uuid4().hex[:12]}"
    server.create_bucket(bucket)
    yield open_store(f"s3://{bucket}/shards/of/today", **server.options)


def test_published_file_is_read_back(store: Store, tmp_path: Path) -> None:
    source = tmp_path / "source.tar"
    content = bytes(range(256)) * (PART_AND_A_BIT // 256)
    source.write_bytes(content)

    uri = store.publish(source, "shard-000001.tar")

    assert uri == store.uri_of("shard-000001.tar")
    assert store.exists("shard-000001.tar")
    assert store.read("shard-000001.tar") == content
    assert source.exists()


def test_read_returns_ranges(store: Store) -> None:
    store.publish_bytes(b"0123456789", "digits")
    assert store.read("digits", 3, 4) == b"3456"
    assert store.read("digits", 8) == b"89"
    assert store.read("digits", 8, 100) == b"89"
    assert store.read("digits", 100, 5) == b""
    assert store.read("digits", 0, 0) == b""
    with pytest.raises(UsageError):
        store.read("digits", -1)


def test_open_file_is_seekable(store: Store) -> None:
    store.publish_bytes(b"0123456789", "digits")
    with store.open("digits") as file:
        file.seek(-2, 2)
        assert file.read() == b"89"
        file.seek(1)
        assert file.read(2) == b"12"


@pytest.mark.parametrize("content", [b"", b"some bytes"])
def test_publishing_again_is_idempotent(store: Store, tmp_path: Path, content: bytes) -> None:
    source = tmp_path / "source"
    source.write_bytes(content)
    first = store.publish(source, "name")
    assert store.publish(source, "name") == first
    assert store.publish_bytes(content, "name") == first
    with pytest.raises(StorageConflictError, match="taken by other bytes"):
        store.publish_bytes(b"other bytes", "name")
    source.write_bytes(b"SOME BYTES") if content else source.write_bytes(b"x")
    if store.read("name") != source.read_bytes():
        with pytest.raises(StorageConflictError):
            store.publish(source, "name")


def test_list_is_sorted_and_complete(store: Store) -> None:
    assert store.list() == []
    for name in ("b.tar", "a.tar", "a.parquet", "0-x_y.tar"):
        store.publish_bytes(name.encode(), name)
    assert [entry.name for entry in store.list()] == ["0-x_y.tar", "a.parquet", "a.tar", "b.tar"]
    assert [(entry.name, entry.bytes) for entry in store.list(".parquet")] == [("a.parquet", 9)]
    assert all(entry.modified > 1_600_000_000 for entry in store.list())


def test_delete_is_idempotent(store: Store) -> None:
    store.publish_bytes(b"x", "name")
    store.delete("name")
    store.delete("name")
    assert not store.exists("name")
    with pytest.raises(StorageMissingError):
        store.read("name")
    with pytest.raises(StorageMissingError):
        store.open("name")


def test_missing_source_is_reported(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StorageMissingError, match="nothing-here"):
        store.publish(tmp_path / "nothing-here", "name")
    assert store.list() == []


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "a/b", "../a", "a b", "ä", "a\n", "a\0b", "x" * 201]
)
def test_invalid_names_are_refused(store: Store, tmp_path: Path, name: str) -> None:
    for action in (
        lambda: store.publish_bytes(b"x", name),
        lambda: store.publish(tmp_path, name),
        lambda: store.read(name),
        lambda: store.open(name),
        lambda: store.delete(name),
        lambda: store.exists(name),
        lambda: store.uri_of(name),
    ):
        with pytest.raises(UsageError, match="cannot be a name"):
            action()


def test_write_check_leaves_nothing(store: Store) -> None:
    store.check_writable()
    store.check_writable()
    assert store.list() == []
    assert store.sweep(older_than_seconds=0) == 0
