"""The stage that gathers samples into shards. Its output is published, not yet committed."""

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
from mien.pipelines.ranges import AtLeastOne
from mien.pipelines.shards.index import IndexRow, encode_index
from mien.pipelines.shards.spool import HeldFolder, sweep_spool
from mien.pipelines.shards.tar import TarWriter
from mien.pipelines.stage import AggregatingStage, DeadlineRule, Resources, StageContext


@dataclass(kw_only=True)
class WriteShards(AggregatingStage):
    """SegmentDone to Shard, many to one. The unit is all samples of one segment, in one shard.

    Commit protocol: the tar grows under a temporary name in `spool`, is forced to the disk, closed, and
    published under its final, unique name. It counts only when the driver has committed it, and readers
    see it only when its sidecar is there. A segment is never split between two shards.
    """

    name = "shards"
    resources = Resources(cpus=0.25, memory_mb=1024)
    cpu_share = 0.05
    cpus_per_worker = 64
    # One call may close a shard, force it to the disk and upload it over a slow connection.
    deadline = DeadlineRule(base=3600.0, per_second=0.0)
    affects_samples = False

    max_bytes: AtLeastOne = 256 * 1024 * 1024
    """A shard is closed when it has grown to this."""
    min_free_bytes: int = 64 * 1024 * 1024
    """Room that must be left on the spool's disk before a segment is written."""

    def setup(self, context: StageContext) -> None:
        import pyarrow.parquet  # noqa: F401 (once per worker, not when the first shard is closed)

        self._store = open_store(context.shards_uri)
        try:
            # Of a cluster's nodes, only that of the driver is swept by the driver.
            sweep_spool(Path(context.spool))
            self._held = HeldFolder(Path(context.spool), context.run_id)
        except OSError as error:
            raise ShardStoreError(
                f"cannot write {context.spool}: {error}; fix the problem and rerun"
            ) from error
        self._folder = self._held.path
        self._run_id = context.run_id
        # Unique among the writers of a run, and among a writer and the one it replaces.
        self._writer = uuid.uuid4().hex[:6]
        self._number = 0
        self._tar: TarWriter | None = None
        self._rows: list[IndexRow] = []
        self._segments: list[SegmentDone] = []

    def __call__(self, item: SegmentDone) -> Iterator[Shard]:
        if any(segment.key == item.key for segment in self._segments):
            return  # it came twice, as a video does that is begun again while parts of it are under way
        try:
            self._refuse_full_disk(item.nbytes)
            if self._tar is None:
                self._tar = TarWriter(self._folder / f"{self._name()}.part")
            for sample in item.samples:
                places = self._tar.append(sample)
                self._rows.append(IndexRow(key=sample.key, row=sample.row, places=places))
        except OSError as error:
            # A torn tar cannot be mended: the run stops, and what was not committed is made again.
            self._abandon()
            raise ShardStoreError(
                f"cannot write {self._folder}: {error}; fix the problem and rerun"
            ) from error
        self._segments.append(dataclasses.replace(item, samples=(), sample_count=len(item.samples)))
        if self._tar.size >= self.max_bytes:
            yield from self.flush()

    def flush(self) -> Iterator[Shard]:
        """Closes and publishes what was gathered, if anything."""
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
        """Nothing of the torn tar may ever be published."""
        if self._tar is not None:
            self._tar.abandon()
        self._tar, self._rows, self._segments = None, [], []
        self._number += 1

    def _name(self) -> str:
        return f"{self._run_id}-{self._writer}-{self._number:05d}.tar"

    def _refuse_full_disk(self, wanted: int) -> None:
        free = shutil.disk_usage(self._folder).free
        if free < wanted + self.min_free_bytes:
            raise StorageFullError(
                f"no room for shards in {os.fspath(self._folder)}: {free >> 20} MB free, "
                f"{(wanted + self.min_free_bytes) >> 20} MB needed; free some space and run again"
            )
