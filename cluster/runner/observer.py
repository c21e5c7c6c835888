"""What the driver does with the engine's news: all of it ends in the catalog."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Callable
from typing import Any, Protocol

from cluster.engine import ErrorInfo, Snapshot
from cluster.runner.commit import commit_shard, segment_record
from ingest.catalog import Catalog, MediaRecord, SegmentFailure, SegmentRecord, VideoFailure
from ingest.errors import LeaseLostError, Policy
from ingest.media import Job, MediaFile
from ingest.storage import Store
from pipelines.data import SegmentDone, Shard

VIDEO_STAGES = ("fetch", "split")
MAX_VIDEO_ATTEMPTS = 5
BACKOFF_SECONDS = 30.0
MAX_BACKOFF_SECONDS = 6 * 3600.0


class Returning(Protocol):
    """What of the engine the observer talks back to."""

    def acknowledge(self, keys: Any) -> None: ...

    def redo(self, keys: Any) -> None: ...


class RunObserver:
    """Feeds the engine from the catalog, and writes down what came of each item."""

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        run_id: str,
        *,
        lease_seconds: float,
        show: Callable[[Catalog, Snapshot, float], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.catalog, self.store, self.run_id = catalog, store, run_id
        self.engine: Returning | None = None
        self._lease_seconds, self._show, self._clock = lease_seconds, show, clock
        self._beaten = clock()
        self._jobs: dict[str, Job] = {}
        self._dropped: list[SegmentRecord] = []
        self._ended_seconds = 0.0
        """Of segments that ended without samples in this run."""

    def next_inputs(self, limit: int) -> list[Job] | None:
        jobs = self.catalog.claim(self.run_id, limit=limit)
        self._jobs.update((job.key, job) for job in jobs)
        return jobs or None

    def reported(self, stage: str, item: Any) -> None:
        if isinstance(item, MediaFile):
            self._mine(lambda: self.catalog.record_media(self.run_id, item.key, media_record(item)))

    def finished(self, item: Any) -> None:
        if isinstance(item, Shard):
            self._commit(item)
        elif isinstance(item, SegmentDone):
            self._dropped.append(segment_record(item))
            self._ended_seconds += item.seconds
            if len(self._dropped) >= 64:
                self._flush_dropped()

    def _commit(self, shard: Shard) -> None:
        lost = commit_shard(self.catalog, self.store, self.run_id, shard)
        keys = set(shard.acknowledges)
        if self.engine is not None:
            self.engine.acknowledge(lost or keys)
            self.engine.redo(keys - lost if lost else ())

    def exhausted(self, key: str, count: int) -> None:
        job = self._jobs.pop(key, None)
        total = count + (len(job.done_starts_ms) if job else 0)
        self._flush_dropped()
        self._mine(lambda: self.catalog.record_split(self.run_id, key, total))

    def failed(self, key: str, stage: str, error: ErrorInfo, item_seconds: float) -> None:
        # The line for people first; below it, what was really raised.
        text = f"{error.text}\n{error.traceback_tail}".strip()
        if stage in VIDEO_STAGES:
            job = self._jobs.pop(key, None)
            attempts = job.attempts if job else 0
            again = error.policy == Policy.RETRY and attempts + 1 < MAX_VIDEO_ATTEMPTS
            wait = min(BACKOFF_SECONDS * 4**attempts, MAX_BACKOFF_SECONDS)
            video = VideoFailure(
                key=key,
                stage=stage,
                error_class=error.error_class,
                text=text,
                policy=Policy.RETRY if again else Policy.PERMANENT,
                next_try_at=self._clock() + wait if again else None,
            )
            self._mine(lambda: self.catalog.record_video_failure(self.run_id, video))
            return
        video_key, _, start_ms = key.rpartition("-")
        segment = SegmentFailure(
            video_key=video_key,
            start_ms=int(start_ms),
            end_ms=int(start_ms) + round(item_seconds * 1000),
            stage=stage,
            error_class=error.error_class,
            text=text,
        )
        self._mine(lambda: self.catalog.record_segment_failure(self.run_id, segment))

    def lost(self, key: str) -> None:
        """A payload went with its node: the whole video is claimed again, less what is committed of it."""
        video_key = key if key in self._jobs else key.rpartition("-")[0]
        failure = VideoFailure(
            key=video_key,
            stage="",
            error_class="ObjectLost",
            text="a node went away with this video's intermediate results; it is begun again",
            policy=Policy.RETRY,
            next_try_at=self._clock(),
        )
        self._mine(lambda: self.catalog.record_video_failure(self.run_id, failure))

    def tick(self, snapshot: Snapshot) -> None:
        self._flush_dropped()
        if self._clock() - self._beaten >= self._lease_seconds / 4:
            self.catalog.heartbeat(self.run_id)
            self._beaten = self._clock()
        written = next((pool.done_seconds for pool in snapshot.pools if pool.name == "shards"), 0.0)
        self._show(self.catalog, snapshot, self._ended_seconds + written)

    def close(self) -> None:
        self._flush_dropped()

    def _flush_dropped(self) -> None:
        records, self._dropped = self._dropped, []
        if records:
            self._mine(lambda: self.catalog.record_done(self.run_id, records))

    def _mine(self, write: Callable[[], None]) -> None:
        """Writes, unless another run has taken the video over: then what we found is not ours to say."""
        try:
            write()
        except LeaseLostError:
            return


def media_record(media: MediaFile) -> MediaRecord:
    facts = {
        name: dataclasses.asdict(stream) if stream is not None else None
        for name, stream in (("video", media.video), ("audio", media.audio))
    }
    return MediaRecord(
        sha256=media.sha256,
        bytes=media.bytes,
        duration_seconds=media.duration_seconds,
        probe_json=json.dumps(
            {
                "container": media.container,
                "zero_seconds": media.zero_seconds,
                "declared_seconds": media.declared_seconds,
                "other_streams": media.other_streams,
                **facts,
            }
        ),
    )
