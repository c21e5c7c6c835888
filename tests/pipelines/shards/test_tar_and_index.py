"""Shards are plain tars: webdataset reads them unaided, and the index points at the same bytes."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import webdataset
from hypothesis import given
from hypothesis import strategies as st

from mien.pipelines.data import Sample
from mien.pipelines.shards.index import IndexRow, encode_index, filter_columns, filter_row, scan_tar
from mien.pipelines.shards.tar import TarWriter
from mien.pipelines.shards.verify import check_shard


def described(key: str) -> dict[str, Any]:
    return {
        "key": key,
        "video": {"source": "file", "id": "v", "licence": "", "labels": {"emotion": "calm"}},
        "start_seconds": 0.0,
        "end_seconds": 0.08,
        "rows": 2,
        "rows_hz": 25,
        "language": "en",
        "language_probability": 0.9,
        "words": [{"text": "hi", "start": 0.0, "end": 0.05, "probability": 0.8}],
        "face": None,
        "quality": {"speech_ratio": 1.0, "snr_db": 20.0, "speaking_score": None},
        "provenance": {"fingerprint": "f", "models": []},
    }


def sample(key: str, payload: bytes = b"x" * 700) -> Sample:
    meta = described(key)
    times = io.BytesIO()
    np.save(times, np.array([0.0, 0.04]))
    members = {"json": json.dumps(meta).encode(), "txt": b"hi", "bin": payload, "times.npy": times.getvalue()}
    return Sample(key=key, members=members, row=filter_row(meta))


def write(folder: Path, samples: list[Sample]) -> tuple[Path, str, list[IndexRow]]:
    writer = TarWriter(folder / "run-0.tar")
    rows = [IndexRow(key=s.key, row=s.row, places=writer.append(s)) for s in samples]
    return writer.path, writer.close(), rows


KEYS = [f"file-clip_{n}-00000{n}000-00" for n in range(4)] + ["file-" + "long_" * 30 + "-000000040-01"]


def test_webdataset_reads_what_was_written(tmp_path: Path) -> None:
    path, _, _ = write(tmp_path, [sample(key) for key in KEYS])
    dataset = webdataset.WebDataset(str(path), shardshuffle=False, empty_check=False)
    read = {entry["__key__"]: entry for entry in dataset}
    assert set(read) == set(KEYS)
    for key in KEYS:
        for extension, data in sample(key).members.items():
            assert read[key][extension] == data


def test_the_index_points_at_the_same_bytes(tmp_path: Path) -> None:
    path, sha256, rows = write(tmp_path, [sample(key) for key in KEYS])
    data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == sha256
    index = pq.read_table(io.BytesIO(encode_index(rows, shard="s", sha256=sha256, tar_bytes=len(data))))
    with tarfile.open(path) as archive:
        for entry in index.to_pylist():
            for extension in ("json", "txt", "bin", "times.npy"):
                offset, size = entry[f"offset.{extension}"], entry[f"size.{extension}"]
                member = archive.extractfile(f"{entry['key']}.{extension}")
                assert member is not None
                assert data[offset : offset + size] == member.read()
                assert zlib.crc32(data[offset : offset + size]) == entry[f"crc32.{extension}"]
    assert set(filter_columns()) <= set(index.column_names)
    assert json.loads(index.schema.metadata[b"mien"])["sha256"] == sha256


def test_rebuilds_lost_sidecar_from_tar(tmp_path: Path) -> None:
    path, sha256, rows = write(tmp_path, [sample(key) for key in KEYS])
    size = path.stat().st_size
    with path.open("rb") as tar:
        again = scan_tar(tar)
    lost, made = (encode_index(r, shard="s", sha256=sha256, tar_bytes=size) for r in (rows, again))
    assert pq.read_table(io.BytesIO(lost)).equals(pq.read_table(io.BytesIO(made)))


def test_the_same_samples_give_the_same_bytes(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    one, two = (write(tmp_path / name, [sample(key) for key in KEYS])[1] for name in "ab")
    assert one == two


@given(st.lists(st.binary(max_size=2000), min_size=1, max_size=8))
def test_any_payload_round_trips(payloads: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path, _, rows = write(Path(folder), [sample(f"k{n}", data) for n, data in enumerate(payloads)])
        data = path.read_bytes()
        for row, payload in zip(rows, payloads, strict=True):
            place = row.places["bin"]
            assert data[place.offset : place.offset + place.size] == payload
            assert place.crc32 == zlib.crc32(payload)


@pytest.fixture
def shard(tmp_path: Path) -> tuple[bytes, bytes, str]:
    path, sha256, rows = write(tmp_path, [sample(key) for key in KEYS])
    data = path.read_bytes()
    return data, encode_index(rows, shard="s", sha256=sha256, tar_bytes=len(data)), sha256


def test_verify_accepts_intact_shard(shard: tuple[bytes, bytes, str]) -> None:
    data, index, sha256 = shard
    assert check_shard(io.BytesIO(data), index, sha256=sha256, deep=True) == (KEYS, [])


def test_verify_names_a_flipped_byte_and_a_cut_tar(shard: tuple[bytes, bytes, str]) -> None:
    data, index, sha256 = shard
    flipped = bytearray(data)
    flipped[600] ^= 1
    for broken in (bytes(flipped), data[:1500], b""):
        _, faults = check_shard(io.BytesIO(broken), index, sha256=sha256, deep=True)
        assert faults and "sha256" in faults[0]
    _, faults = check_shard(
        io.BytesIO(data[:1500]), index, sha256=hashlib.sha256(data[:1500]).hexdigest(), deep=True
    )
    assert faults


def test_verify_names_an_index_of_another_shard(shard: tuple[bytes, bytes, str], tmp_path: Path) -> None:
    data, _, sha256 = shard
    (tmp_path / "other").mkdir()
    _, other, rows = write(tmp_path / "other", [sample(key, b"y") for key in KEYS[:3]])
    index = encode_index(rows, shard="s", sha256=other, tar_bytes=1)
    _, faults = check_shard(io.BytesIO(data), index, sha256=sha256, deep=False)
    assert any("lists 3 samples" in fault for fault in faults)
    assert any("another offset or size" in fault for fault in faults)
    assert any("not in the index" in fault for fault in faults)


def changed(index: bytes, columns: dict[str, list[int] | None]) -> bytes:
    """The sidecar with these columns replaced, or, where None, taken out."""
    table = pq.read_table(io.BytesIO(index))
    for name, values in columns.items():
        at = table.schema.get_field_index(name)
        field = table.schema.field(at)
        table = table.remove_column(at)
        if values is not None:
            table = table.append_column(field, pa.array(values, field.type))
    out = io.BytesIO()
    pq.write_table(table, out)
    return out.getvalue()


def test_verify_names_a_member_with_another_crc32(shard: tuple[bytes, bytes, str]) -> None:
    data, index, sha256 = shard
    table = pq.read_table(io.BytesIO(index))
    assert {str(table.schema.field(f"crc32.{extension}").type) for extension in ("txt", "bin")} == {"uint32"}
    sums = table["crc32.txt"].to_pylist()
    wrong = changed(index, {"crc32.txt": [*sums[:-1], sums[-1] ^ 1]})
    _, faults = check_shard(io.BytesIO(data), wrong, sha256=sha256, deep=False)
    assert faults == [f"{KEYS[-1]}.txt: the index has another crc32"]


def test_verify_accepts_sidecar_without_crc32(shard: tuple[bytes, bytes, str]) -> None:
    data, index, sha256 = shard
    old = changed(index, {f"crc32.{extension}": None for extension in ("json", "txt", "bin", "times.npy")})
    assert check_shard(io.BytesIO(data), old, sha256=sha256, deep=True) == (KEYS, [])


def test_verify_reports_tar_with_non_file_member(tmp_path: Path) -> None:
    path = tmp_path / "odd.tar"
    with tarfile.open(path, "w") as archive:
        info = tarfile.TarInfo("file-clip-000000000-00.json")
        info.type = tarfile.DIRTYPE
        archive.addfile(info)
    data = path.read_bytes()
    _, faults = check_shard(io.BytesIO(data), b"", sha256=hashlib.sha256(data).hexdigest(), deep=False)
    assert len(faults) == 1 and "not a plain file" in faults[0]


@pytest.mark.parametrize("index", [b"", b"not parquet", b"PAR1" * 20])
def test_verify_names_an_index_that_cannot_be_read(shard: tuple[bytes, bytes, str], index: bytes) -> None:
    data, _, sha256 = shard
    keys, faults = check_shard(io.BytesIO(data), index, sha256=sha256, deep=False)
    assert keys == KEYS
    assert len(faults) == 1 and "index cannot be read" in faults[0]
