"""The writer stores complete segments, once each, and publishes no incomplete tar."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.ingest.errors import ShardStoreError
from mien.pipelines.data import Sample, SegmentDone
from mien.pipelines.shards import write
from mien.pipelines.shards.index import encode_index, scan_tar
from mien.pipelines.shards.tar import Place, TarWriter
from mien.pipelines.shards.write import WriteShards
from mien.pipelines.stage import StageContext
from tests.pipelines.shards.test_tar_and_index import sample


def writer(folder: Path) -> WriteShards:
    stage = WriteShards(min_free_bytes=1)
    stage.setup(StageContext(shards_uri=str(folder / "shards"), spool=str(folder / "spool"), run_id="run"))
    return stage


def segment(start_ms: int) -> SegmentDone:
    return SegmentDone(
        video_key="file-v",
        start_ms=start_ms,
        end_ms=start_ms + 80,
        seconds_by_fate={},
        samples=(sample(f"file-v-{start_ms:09d}-00"),),
    )


def test_writes_duplicate_segment_once(tmp_path: Path) -> None:
    stage = writer(tmp_path)
    for start_ms in (0, 80, 0):
        assert list(stage(segment(start_ms))) == []
    [shard] = stage.flush()
    assert shard.acknowledges == ("file-v-000000000", "file-v-000000080")
    assert shard.sample_count == 2
    with Path(shard.uri).open("rb") as tar:
        rows = scan_tar(tar)
    assert [row.key for row in rows] == ["file-v-000000000-00", "file-v-000000080-00"]


def test_rebuilt_index_has_identical_bytes(tmp_path: Path) -> None:
    """Therefore several processes may publish it."""
    stage = writer(tmp_path)
    list(stage(segment(0)))
    [shard] = stage.flush()
    with Path(shard.uri).open("rb") as tar:
        rows = scan_tar(tar)
    again = encode_index(rows, shard=shard.name, sha256=shard.sha256, tar_bytes=shard.size_bytes)
    assert again == shard.index


def test_publishes_no_part_of_an_incomplete_tar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class FullDisk(TarWriter):
        def append(self, sample: Sample) -> dict[str, Place]:
            if sample.key.startswith("file-v-000000080"):
                self._out.write(b"half a header")
                raise OSError(28, "No space left on device")
            return super().append(sample)

    monkeypatch.setattr(write, "TarWriter", FullDisk)
    stage = writer(tmp_path)
    list(stage(segment(0)))
    with pytest.raises(ShardStoreError, match="No space left"):
        list(stage(segment(80)))
    assert list(stage.flush()) == []
    assert [path.name for path in tmp_path.rglob("*.*")] == []
