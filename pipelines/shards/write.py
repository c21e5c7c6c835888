"""The stage `shards`: writes samples into shards and publishes them. The driver commits them later."""

from __future__ import annotations

import dataclasses
import os
import shutil
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mien.ingest.errors import ShardStoreError, StorageError, StorageFullError
from mien.ingest.storage import open_store
from mien.pipelines.data import SegmentDone, Shard
from mien.pipelines.shards.index import IndexRow, encode_index
from mien.pipelines.shards.spool import SpoolFolder, sweep_spool
from mien.pipelines.shards.tar import TarWriter
from mien.pipelines.stage import AggregatingStage, AtLeastOne, DeadlineRule, Resources, StageContext


@dataclass(kw_only=True)
class WriteShards(AggregatingStage):
    """Many SegmentDone to one Shard. All samples of a segment are in the same shard.

    Commit protocol: the writer appends to a tar with a temporary name in `spool`, flushes it to the disk,
    closes it, and publishes it under its final, unique name. The shard is valid once the driver has committed
    it. Readers see it once its sidecar exists.
    """

    name = "shards"
    resources = Resources(cpus=0.25, memory_mb=1024)
    cpu_share = 0.05
    cpus_per_worker = 64
    # One call may close a shard, flush it to the disk and upload it over a slow connection.
    deadline = DeadlineRule(base=3600.0, per_second=0.0)
    affects_samples = False

    max_bytes: AtLeastOne = 256 * 1024 * 1024
    """A shard is closed when it reaches this size."""
    min_free_bytes: int = 64 * 1024 * 1024
    """Free space that must remain on the spool's disk after a segment is written."""

    def setup(self, context: StageContext) -> None:
        import pyarrow.parquet  # noqa: F401 (once per worker, not when the first shard is closed)

        self._store = open_store(context.shards_uri)
        try:
            # The driver sweeps the spool of its own node only.
            sweep_spool(Path(context.spool))
            self._spool_folder = SpoolFolder(Path(context.spool), context.run_id)
        except OSError as error:
            raise ShardStoreError(
                f"cannot write {context.spool}: {error}; fix the problem and rerun"
            ) from error
        self._folder = self._spool_folder.path
        self._run_id = context.run_id
        # Unique among the writers of a run, including a writer and its replacement.
        self._writer = uuid.uuid4().hex[:6]
        self._number = 0
        self._tar: TarWriter | None = None
        self._rows: list[IndexRow] = []
        self._segments: list[SegmentDone] = []

    def __call__(self, item: SegmentDone) -> Iterator[Shard]:
        if any(segment.key == item.key for segment in self._segments):
            return  # a duplicate: a video may restart while some of its segments are in progress
        try:
            self._refuse_full_disk(item.nbytes)
            if self._tar is None:
                self._tar = TarWriter(self._folder / f"{self._name()}.part")
            for sample in item.samples:
                places = self._tar.append(sample)
                self._rows.append(IndexRow(key=sample.key, row=sample.row, places=places))
        except OSError as error:
            # An incomplete tar cannot be repaired. The run stops, and the next run regenerates its segments.
            self._abandon()
            raise ShardStoreError(
                f"cannot write {self._folder}: {error}; fix the problem and rerun"
            ) from error
        self._segments.append(dataclasses.replace(item, samples=(), sample_count=len(item.samples)))
        if self._tar.size >= self.max_bytes:
            yield from self.flush()

    def flush(self) -> Iterator[Shard]:
        """Closes and publishes the current shard, if there is one."""
        if self._tar is None:
            return
        tar, rows, segments, name = self._tar, self._rows, self._segments, self._name()
        try:
            sha256, size = tar.close(), tar.size
            uri = self._store.publish(tar.path, name)
            tar.path.unlink(missing_ok=True)
        except (OSError, StorageError) as error:
            raise ShardStoreError(f"cannot publish {name}: {error}; fix the problem and rerun") from error
        self._tar, self._rows, self._segments = None, [], []
        self._number += 1
        yield Shard(
            name=name,
            uri=uri,
            size_bytes=size,
            sha256=sha256,
            sample_count=len(rows),
            segments=tuple(segments),
            index=encode_index(rows, shard=name, sha256=sha256, tar_bytes=size),
        )

    def _abandon(self) -> None:
        """Deletes the incomplete tar, so that no part of it is published."""
        if self._tar is not None:
            self._tar.abandon()
        self._tar, self._rows, self._segments = None, [], []
        self._number += 1

    def _name(self) -> str:
        return f"{self._run_id}-{self._writer}-{self._number:05d}.tar"

    def _refuse_full_disk(self, needed: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < needed + self.min_free_bytes:
            raise StorageFullError(
                f"not enough disk space for shards in {os.fspath(self._folder)}: {free >> 20} MB free, "
                f"{(needed + self.min_free_bytes) >> 20} MB needed; free some space and rerun"
            )
