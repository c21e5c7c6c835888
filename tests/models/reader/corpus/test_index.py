"""The index covers all committed shards, is built once, and is extended when shards are added."""

from __future__ import annotations

import json
import multiprocessing
import os
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.ingest.errors import NoSamplesError, SidecarError, SidecarVersionError
from mien.ingest.storage import Store, open_store
from mien.models.reader.corpus import build
from mien.models.reader.corpus.corpus import Corpus, open_corpus
from mien.models.reader.corpus.index import Index
from mien.models.reader.corpus.index_cache import STORED_INDEXES
from mien.models.reader.corpus.listing import ShardListing, list_shards
from mien.models.reader.corpus.sidecar import read_rows
from mien.pipelines.data import SCHEMA_VERSION
from tests.models.corpora import key_of, write_corpus, write_shard


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "corpus"


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def opened(folder: Path, cache: Path, where: str | None = None) -> Corpus:
    return open_corpus(str(folder), where=where, cache=cache, options={})


def keys(index: Index) -> list[str]:
    return [index.key(n) for n in range(len(index))]


def test_index_has_every_sidecar_row(folder: Path, cache: Path) -> None:
    write_corpus(folder, [3, 5, 2])
    index = opened(folder, cache).index

    assert keys(index) == [key_of(n) for n in range(10)]
    assert [dict(index.row(n))["rows"] for n in range(10)] == list(range(10))
    assert index.extensions == {"json", "bin"}
    assert index.find(key_of(7)) == 7
    assert index.find("missing") is None
    for shard, name in enumerate(index.names):
        rows_stored = pq.read_table(folder / f"{name}.parquet").to_pylist()
        first = int(index.first_row[shard])
        for n, row in enumerate(rows_stored):
            for part in ("offset", "size"):
                assert index.numbers(f"{part}.json")[0][first + n] == row[f"{part}.json"]
        facts = json.loads(pq.read_schema(folder / f"{name}.parquet").metadata[b"mien"])
        assert (index.sha256[shard], index.tar_bytes[shard]) == (facts["sha256"], facts["bytes"])


def test_row_batches_are_full(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A sample's batch and row follow from its number. Rows of a shard may be in several batches, and shards
    may have different columns."""
    for module in (build, __import__("mien.models.reader.corpus.index", fromlist=["x"])):
        monkeypatch.setattr(module, "BATCH_ROWS", 8)
    write_corpus(folder, [3, 20, 1, 6])
    odd = pq.read_table(folder / "shard-002.tar.parquet")
    odd = odd.append_column("offset.extra", pa.array([77], pa.int64()))
    odd = odd.append_column("size.extra", pa.array([5], pa.int64()))
    odd = odd.append_column("mood", pa.array(["calm"], pa.string()))
    pq.write_table(odd, folder / "shard-002.tar.parquet")
    index = opened(folder, cache).index

    assert [batch.num_rows for batch in index.batches] == [8, 8, 8, 6]
    assert keys(index) == [key_of(n) for n in range(30)]
    extra = np.concatenate(index.numbers("offset.extra"))
    assert extra.tolist() == [77 if n == 23 else -1 for n in range(30)]
    assert [index.row(n)["mood"] for n in (22, 23, 24)] == [None, "calm", None]


def test_reuses_rows_of_older_index(folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def reading(store: Store, shard: ShardListing) -> Any:
        asked.append(shard.name)
        return read_rows(store, shard)

    monkeypatch.setattr(build, "read_rows", reading)
    write_corpus(folder, [4, 4])
    opened(folder, cache)
    opened(folder, cache)
    assert sorted(asked) == ["shard-000.tar", "shard-001.tar"]

    write_shard(folder, "shard-000-between", range(100, 103))
    grown = opened(folder, cache).index
    assert asked[2:] == ["shard-000-between.tar"]
    assert keys(grown) == [key_of(n) for n in (*range(100, 103), *range(8))]

    os.utime(folder / "shard-001.tar.parquet", (1, 1))
    opened(folder, cache)
    assert asked[3:] == ["shard-001.tar"], "a shard with another stamp is read again"


def test_deletes_old_indexes_not_in_use(folder: Path, cache: Path) -> None:
    write_corpus(folder, [2])
    first = opened(folder, cache)
    for n in range(STORED_INDEXES + 2):
        write_corpus(folder, [1], first=10 + n, name=f"more-{n}")
        opened(folder, cache)

    there = [path for path in (cache / "index").glob("*/*") if path.is_dir()]
    assert len(there) <= STORED_INDEXES + 1
    assert first.index.folder in there
    assert keys(Index(first.index.folder)) == [key_of(0), key_of(1)]


def _open_in_child(folder: Path, cache: Path, results: Any) -> None:
    results.put(len(opened(folder, cache)))


@pytest.mark.slow
def test_concurrent_processes_build_one_index(folder: Path, cache: Path) -> None:
    write_corpus(folder, [5] * 20)
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    children = [context.Process(target=_open_in_child, args=(folder, cache, results)) for _ in range(3)]
    for child in children:
        child.start()
    assert [results.get(timeout=300) for _ in children] == [100] * 3
    for child in children:
        child.join(timeout=300)
    assert len([path for path in (cache / "index").glob("*/*") if path.is_dir()]) == 1


def test_ignores_uncommitted_shards(folder: Path, cache: Path) -> None:
    write_corpus(folder, [3])
    write_shard(folder, "uncommitted", range(50, 60))
    (folder / "uncommitted.tar.parquet").unlink()
    assert keys(opened(folder, cache).index) == [key_of(n) for n in range(3)]


def test_uncommitted_run_is_not_a_foreign_corpus(folder: Path, cache: Path) -> None:
    tar = write_shard(folder, "01abcdefgh1234-abc123-00000", range(3))
    tar.with_name(f"{tar.name}.parquet").unlink()

    with pytest.raises(NoSamplesError, match="not committed"):
        opened(folder, cache)


def test_indexes_foreign_tars(folder: Path, cache: Path) -> None:
    write_corpus(folder, [3, 4])
    for sidecar in folder.glob("*.parquet"):
        sidecar.unlink()
    corpus = opened(folder, cache)

    assert keys(corpus.index) == [key_of(n) for n in range(7)]
    assert corpus.index.columns == ["key"]
    assert corpus.manifest[0][1].startswith("headers ")
    with tarfile.open(folder / "shard-001.tar") as tar:
        expected = [member.offset_data for member in tar if member.name.endswith(".bin")]
    assert corpus.index.numbers("offset.bin")[0][3:].tolist() == expected


def test_rewritten_foreign_tar_is_reindexed(folder: Path, cache: Path) -> None:
    """Even with the same name and size, so that a state of the old one is not continued in the new one."""
    found: list[tuple[int, list[tuple[str, str]]]] = []
    for first in (100, 200, 100):
        (folder / "shard-000.tar").unlink(missing_ok=True)
        tar = write_shard(folder, "shard-000", range(first, first + 3))
        tar.with_name(f"{tar.name}.parquet").unlink()
        os.utime(tar, (0, first + len(found)))
        corpus = opened(folder, cache)
        assert keys(corpus.index) == [key_of(first + n) for n in range(3)]
        found.append((tar.stat().st_size, corpus.manifest))

    assert found[0][0] == found[1][0]
    assert found[0][1] != found[1][1]
    assert found[2][1] == found[0][1], "the identity does not depend on where and when it was copied"


@pytest.mark.parametrize("name", ["samples.arrow", "shards.arrow"])
@pytest.mark.parametrize("content", [b"", bytes(20_000)])
def test_rebuilds_damaged_index(folder: Path, cache: Path, name: str, content: bytes) -> None:
    """As after a power failure before everything was written to disk."""
    write_corpus(folder, [3, 2])
    made = opened(folder, cache).index.folder
    (made / name).unlink()
    (made / name).write_bytes(content)

    assert keys(opened(folder, cache).index) == [key_of(n) for n in range(5)]
    assert [path for path in made.parent.iterdir() if path.is_dir()] == [made]


def test_names_damaged_foreign_tar(folder: Path, cache: Path) -> None:
    write_corpus(folder, [3])
    (folder / "shard-000.tar.parquet").unlink()
    os.truncate(folder / "shard-000.tar", 2000)
    with pytest.raises(SidecarError, match=r"shard-000\.tar: truncated"):
        opened(folder, cache)


def test_names_sidecar_of_other_version(folder: Path, cache: Path) -> None:
    write_corpus(folder, [3, 3])
    path = folder / "shard-001.tar.parquet"
    table = pq.read_table(path)
    facts = json.loads(table.schema.metadata[b"mien"]) | {"schema_version": SCHEMA_VERSION + 1}
    pq.write_table(table.replace_schema_metadata({"mien": json.dumps(facts)}), path)

    with pytest.raises(SidecarVersionError, match=rf"shard-001.*schema {SCHEMA_VERSION + 1}"):
        opened(folder, cache)
    assert not list((cache / "index").glob("*/*/*.arrow")), "no partial index is left"


@pytest.mark.parametrize("damage", [b"", b"PAR1 rubbish PAR1", None])
def test_names_damaged_sidecar(folder: Path, cache: Path, damage: bytes | None) -> None:
    write_corpus(folder, [3, 3])
    path = folder / "shard-000.tar.parquet"
    path.write_bytes(path.read_bytes()[:-20] if damage is None else damage)

    with pytest.raises(SidecarError, match=r"shard-000\.tar\.parquet") as caught:
        opened(folder, cache)
    assert "\n" not in str(caught.value)


def test_names_corpus_with_conflicting_sidecars(folder: Path, cache: Path) -> None:
    write_corpus(folder, [3, 3])
    path = folder / "shard-001.tar.parquet"
    table = pq.read_table(path)
    at = table.column_names.index("rows")
    odd = table.set_column(at, "rows", pa.array([[1], [2], [3]], pa.list_(pa.int64())))
    pq.write_table(odd, path)

    with pytest.raises(SidecarError, match=r"incompatible columns.*rows"):
        opened(folder, cache)


def test_reports_empty_corpus(folder: Path, cache: Path) -> None:
    with pytest.raises(NoSamplesError, match=r"there is no \.tar"):
        opened(folder, cache)
    write_corpus(folder, [3])
    with pytest.raises(NoSamplesError, match="none of 3 samples passes"):
        opened(folder, cache, "rows > 1000")


def test_filter_and_shard_selection_combine(folder: Path, cache: Path) -> None:
    write_corpus(folder, [10, 10, 10])
    filtered = opened(folder, cache, "rows >= 5")
    assert filtered.counts.tolist() == [5, 10, 10]
    assert filtered.numbers(np.arange(3)).tolist() == [5, 6, 7]

    chosen = filtered.only(["shard-000.tar", "shard-002.tar"])
    assert chosen.counts.tolist() == [5, 0, 10]
    assert chosen.numbers(np.arange(15)).tolist() == [*range(5, 10), *range(20, 30)]
    assert [name for name, _ in chosen.manifest] == ["shard-000.tar", "shard-002.tar"]
    assert opened(folder, cache).only(["shard-001.tar"]).numbers(np.arange(10)).tolist() == list(
        range(10, 20)
    )


def test_lists_shard_without_tar(folder: Path) -> None:
    write_corpus(folder, [3, 3])
    (folder / "shard-000.tar").unlink()

    assert [(s.name, s.tar_bytes < 0) for s in list_shards(open_store(str(folder)))] == [
        ("shard-000.tar", True),
        ("shard-001.tar", False),
    ]
