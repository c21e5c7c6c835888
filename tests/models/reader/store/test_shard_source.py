"""Reading samples from local tars gives the committed bytes, or an error that names the sample."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.ingest.errors import (
    DamagedSampleError,
    MissingShardError,
    ShardUnavailableError,
    TruncatedShardError,
    WrongBytesError,
)
from mien.models.reader.corpus.corpus import open_corpus
from mien.models.reader.store.shard_source import OPEN_LOCAL, ShardSource, ShardSourceSpec
from tests.models.corpora import key_of, sample, write_corpus
from tests.models.process_resources import held


def with_checksums(folder: Path) -> None:
    """Adds the columns `crc32.<ext>` to sidecars that lack them."""
    for path in folder.glob("*.parquet"):
        table = pq.read_table(path)
        data = path.with_name(path.name.removesuffix(".parquet")).read_bytes()
        for extension in ("json", "bin"):
            if f"crc32.{extension}" in table.column_names:
                table = table.drop_columns([f"crc32.{extension}"])
            places = zip(
                table.column(f"offset.{extension}").to_pylist(),
                table.column(f"size.{extension}").to_pylist(),
                strict=True,
            )
            crcs = [zlib.crc32(data[offset : offset + size]) for offset, size in places]
            table = table.append_column(f"crc32.{extension}", pa.array(crcs, pa.uint32()))
        pq.write_table(table, path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write_corpus(tmp_path / "corpus", [4, 4])
    with_checksums(tmp_path / "corpus")
    return tmp_path / "corpus"


@pytest.fixture
def source(folder: Path, tmp_path: Path) -> ShardSource:
    return make(folder, tmp_path)


def make(
    folder: Path, tmp_path: Path, *, members: frozenset[str] | None = None, verify: bool = True
) -> ShardSource:
    corpus = open_corpus(str(folder), where=None, cache=tmp_path / "cache", options={})
    spec = ShardSourceSpec(
        uri=str(folder),
        index=corpus.index.folder,
        options={},
        cache=tmp_path / "shards",
        cache_bytes=1 << 30,
        timeout_seconds=5,
        ranged=None,
    )
    marks = np.zeros(len(corpus.index), np.uint8) if verify else None
    return ShardSource(spec, corpus=0, members=members, checked=marks)


def test_reads_written_bytes_without_copy(source: ShardSource) -> None:
    for number in range(8):
        read = source.read(number, epoch=0, seed=7)
        assert {name: bytes(data) for name, data in read.members.items()} == sample(number).members
        assert (read.key, read.corpus, read.row["rows"]) == (key_of(number), 0, number)
        assert all(isinstance(data, memoryview) and data.readonly for data in read.members.values())
    one, other = (source.read(n, epoch=0, seed=7).members["bin"] for n in (0, 1))
    assert isinstance(one, memoryview)
    assert isinstance(other, memoryview)
    assert one.obj is other.obj, "views of one mapping"


def test_sample_outlives_source_and_tar(folder: Path, source: ShardSource) -> None:
    read = source.read(0, epoch=0, seed=7)
    source.close()
    (folder / "shard-000.tar").unlink()

    assert bytes(read.members["bin"]) == sample(0).members["bin"]


def test_seed_depends_on_reader_epoch_key(source: ShardSource) -> None:
    seeds = [
        source.read(n, epoch=epoch, seed=seed).seed for n in (0, 1) for epoch in (0, 1) for seed in (7, 8)
    ]

    assert len(set(seeds)) == 8
    assert source.read(0, epoch=0, seed=7).seed == seeds[0]


def test_reads_only_requested_members(folder: Path, tmp_path: Path) -> None:
    source = make(folder, tmp_path, members=frozenset({"json", "flac"}))

    assert list(source.read(3, epoch=0, seed=7).members) == ["json"]


def test_limits_open_tars(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mien.models.reader.store.shard_source.OPEN_LOCAL", 1)
    assert OPEN_LOCAL > 1
    alternating = make(folder, tmp_path)
    before = held()
    for number in (0, 4, 1, 5, 2, 6):
        assert alternating.read(number, epoch=0, seed=7).key == key_of(number)
    assert held().since(before).descriptors.total() <= 2


def _unlink(tar: Path) -> None:
    tar.unlink()


def _cut(tar: Path) -> None:
    os.truncate(tar, tar.stat().st_size // 2)


def _empty(tar: Path) -> None:
    tar.write_bytes(b"")


def _flip(tar: Path) -> None:
    data = bytearray(tar.read_bytes())
    at = data.index(sample(2).members["bin"]) + 700
    data[at] ^= 1
    tar.write_bytes(bytes(data))


def _append(tar: Path) -> None:
    with tar.open("ab") as file:
        file.write(b"more")


def _make_folder(tar: Path) -> None:
    tar.unlink()
    tar.mkdir()


DAMAGES: list[tuple[Callable[[Path], None], type[DamagedSampleError], set[int]]] = [
    (_unlink, MissingShardError, {0, 1, 2, 3}),
    (_cut, TruncatedShardError, {2, 3}),
    (_empty, TruncatedShardError, {0, 1, 2, 3}),
    (_flip, WrongBytesError, {2}),
    (_append, WrongBytesError, {0, 1, 2, 3}),
    (_make_folder, ShardUnavailableError, {0, 1, 2, 3}),
]


@pytest.mark.parametrize(("damage", "kind", "lost"), DAMAGES, ids=[d[0].__name__ for d in DAMAGES])
def test_names_damage_and_reads_the_rest(
    folder: Path,
    source: ShardSource,
    damage: Callable[[Path], None],
    kind: type[DamagedSampleError],
    lost: set[int],
) -> None:
    damage(folder / "shard-000.tar")

    results = source.read_many(range(8), [0] * 8, seed=7)
    assert {n for n, each in enumerate(results) if isinstance(each, DamagedSampleError)} == lost
    for number in lost:
        error = results[number]
        assert isinstance(error, kind)
        assert error.key == key_of(number)
        assert key_of(number) in str(error)
        assert "shard-000.tar" in str(error)
        assert "\n" not in str(error)


def test_truncating_mapped_tar_does_not_kill(folder: Path, source: ShardSource) -> None:
    assert source.read(0, epoch=0, seed=7).key == key_of(0)
    os.truncate(folder / "shard-000.tar", 600)

    with pytest.raises(TruncatedShardError):
        source.read(3, epoch=0, seed=7)


def test_verifies_checksums_once(folder: Path, tmp_path: Path) -> None:
    first, trusting = make(folder, tmp_path), make(folder, tmp_path, verify=False)
    first.read(2, epoch=0, seed=7)
    inode = (folder / "shard-000.tar").stat().st_ino
    data = bytearray((folder / "shard-000.tar").read_bytes())
    data[data.index(sample(2).members["bin"])] ^= 1
    with (folder / "shard-000.tar").open("r+b") as file:
        file.write(data)
    assert (folder / "shard-000.tar").stat().st_ino == inode

    assert bytes(first.read(2, epoch=1, seed=7).members["bin"]) != sample(2).members["bin"]
    assert bytes(trusting.read(2, epoch=0, seed=7).members["bin"]) != sample(2).members["bin"]
    with pytest.raises(WrongBytesError):
        make(folder, tmp_path).read(2, epoch=0, seed=7)


def test_row_and_members_are_not_decoded(source: ShardSource) -> None:
    read = source.read(5, epoch=0, seed=7)

    assert json.loads(bytes(read.members["json"])) == {"number": 5}
    assert read.row["language"] == sample(5).row["language"]
    assert "offset.json" not in read.row
    with pytest.raises(KeyError):
        read.row["nothing"]
