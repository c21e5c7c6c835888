"""What the driver does with the engine's news: all of it ends in the catalog."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from mien.cluster.engine import ErrorInfo, Snapshot
from mien.cluster.engine.errors import is_media_fault
from mien.cluster.runner.acquisition import Acquisition
from mien.cluster.runner.media_retention import MediaRetention
from mien.cluster.runner.peer_runs import PeerRunMonitor
from mien.cluster.runner.shard_commit import commit_shard, segment_record
from mien.ingest.catalog import Catalog, MediaRecord, SegmentFailure, SegmentRecord, VideoFailure
from mien.ingest.errors import LeaseLostError, Policy, PremiereError
from mien.ingest.media import Job, MediaFile
from mien.ingest.storage import Store
from mien.pipelines.data import SegmentDone, SegmentFailed, Shard

MAX_VIDEO_ATTEMPTS = 5
BACKOFF_SECONDS = 30.0
MAX_BACKOFF_SECONDS = 6 * 3600.0
MAX_ASKED_SECONDS = 30 * 24 * 3600.0
"""Nobody is waited for longer than this, whatever he asks for."""
WAIT_FOR_RETRY_SECONDS = 120.0
"""A run does not end while a video is due so soon."""
ASK_SECONDS = 1.0
"""Between two questions to the catalog that had nothing to give."""


ProgressCallback = Callable[[Catalog, Snapshot, float], None]
"""Called about once per second with the seconds of media that this run has processed, committed or not."""


class EngineControl(Protocol):
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
        fingerprint: str,
        alive: Callable[[], None],
        on_progress: ProgressCallback,
        video_stages: Collection[str] = (),
        unique: bool = False,
        backoff_seconds: float = BACKOFF_SECONDS,
        acquisition: Acquisition | None = None,
        media: MediaRetention | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.catalog, self.store, self.run_id = catalog, store, run_id
        self.engine: EngineControl | None = None
        self._fingerprint, self._alive, self._on_progress, self._clock = (
            fingerprint,
            alive,
            on_progress,
            clock,
        )
        self._backoff_seconds = backoff_seconds
        self._video_stages = frozenset(video_stages)
        """Names of the stages whose items are whole videos."""
        self._unique = unique
        """Whether the same bytes are taken once only."""
        self._acquisition = acquisition or Acquisition(catalog, run_id, fingerprint=fingerprint, clock=clock)
        self._media = media
        self._others = PeerRunMonitor(catalog, run_id)
        self._ask_at = 0.0
        self._jobs: dict[str, Job] = {}
        """Videos that are being fetched or split."""
        self._again: set[str] = set()
        """Those of them that must be begun again when they are through."""
        self._dropped: list[SegmentRecord] = []
        self._ended_seconds = 0.0
        """Of segments that ended without samples in this run."""

    def next_inputs(self, limit: int) -> list[Job] | None:
        now = self._clock()
        if now < self._ask_at:
            return []
        if jobs := self._acquisition.claim(limit):
            self._jobs.update((job.key, job) for job in jobs)
            return list(jobs)
        self._ask_at = now + ASK_SECONDS
        return [] if self._jobs or self._more_may_come(now) else None

    def _more_may_come(self, now: float) -> bool:
        if self._acquisition.is_over:
            return False
        due = self.catalog.next_try_at(fingerprint=self._fingerprint)
        if due is not None and due - now <= WAIT_FOR_RETRY_SECONDS:
            return True
        return self._others.may_be_dead() or self._acquisition.is_worth_waiting()

    def reported(self, stage: str, item: Any) -> bool:
        """False for a file whose bytes are another video's: the catalog has ended it."""
        same: str | None = None
        if isinstance(item, MediaFile):
            self._acquisition.reported(item.job, item)
            with contextlib.suppress(LeaseLostError):  # then what we found is not ours to say
                record = media_record(item)
                same = self.catalog.record_media(self.run_id, item.key, record, unique=self._unique)
                if same is None and item.sound_print:
                    self.catalog.record_print(item.key, item.sound_print)
                if self._media is not None:
                    self._media.came(item)
        if same is None:
            return True
        self._through(item.key)
        self._again.discard(item.key)
        return False

    def finished(self, item: Any) -> None:
        if isinstance(item, Shard):
            self._commit(item)
        elif isinstance(item, MediaFile):  # of a run that only fetches
            self._through(item.key)
        elif isinstance(item, SegmentDone):
            self._dropped.append(segment_record(item))
            self._ended_seconds += item.seconds
            if len(self._dropped) >= 64:
                self._flush_dropped()
        elif isinstance(item, SegmentFailed):
            broken = SegmentFailure(
                video_key=item.video_key,
                start_ms=item.start_ms,
                end_ms=item.end_ms,
                stage=item.stage,
                error_class=item.error_class,
                text=item.text,
            )
            self._ended_seconds += item.seconds
            self._mine(lambda: self.catalog.record_segment_failure(self.run_id, broken))

    def _commit(self, shard: Shard) -> None:
        lost = commit_shard(self.catalog, self.store, self.run_id, shard)
        keys = set(shard.acknowledges)
        if self.engine is not None:
            self.engine.acknowledge(lost or keys)
            self.engine.redo(keys - lost if lost else ())

    def exhausted(self, key: str, count: int) -> None:
        job = self._jobs.get(key)
        total = count + (len(job.done_starts_ms) if job else 0)
        self._flush_dropped()
        self._mine(lambda: self.catalog.record_split(self.run_id, key, total))
        self._through(key)
        if key in self._again:
            self._begin_again(key)

    def failed(self, key: str, stage: str, error: ErrorInfo, item_seconds: float) -> None:
        # The line for people first; below it, what was really raised.
        text = f"{error.text}\n{error.traceback_tail}".strip()
        if stage in self._video_stages:
            video = self._video_failure(key, stage, error, text)
            self._mine(lambda: self.catalog.record_video_failure(self.run_id, video))
            self._through(key)
            self._again.discard(key)
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

    def _video_failure(self, key: str, stage: str, error: ErrorInfo, text: str) -> VideoFailure:
        job, now = self._jobs.get(key), self._clock()
        again_at = self._acquisition.failed(job, error) if job else None
        if again_at is None and job and job.media_uri and is_media_fault(error.error_class):
            # The copy that was kept is broken or gone: it is had from where it came from.
            self._mine(lambda: self.catalog.forget_retained(self.run_id, key))
            again_at = now
        if again_at is None and error.error_class == PremiereError.__name__ and error.retry_after_seconds:
            again_at = now + min(error.retry_after_seconds, MAX_ASKED_SECONDS)
        policy = Policy.STOP
        if again_at is None:
            attempts = job.attempts if job else 0
            policy = Policy.PERMANENT
            if error.policy == Policy.RETRY and attempts + 1 < MAX_VIDEO_ATTEMPTS:
                policy = Policy.RETRY
                wait = min(self._backoff_seconds * 4**attempts, MAX_BACKOFF_SECONDS)
                again_at = now + max(wait, min(error.retry_after_seconds or 0.0, MAX_ASKED_SECONDS))
        return VideoFailure(
            key=key,
            stage=stage,
            error_class=error.error_class,
            text=text,
            policy=policy,  # STOP: it waits, and is not charged
            next_try_at=again_at,
        )

    def lost(self, key: str) -> None:
        """A payload went with its node: the whole video is claimed again, less what is committed of it."""
        video_key = key.rpartition("-")[0]
        if video_key in self._jobs:
            # Two splits of one video at once would not know which segments the other counts.
            self._again.add(video_key)
            return
        if key in self._jobs:
            self._through(key)
            video_key = key
        self._begin_again(video_key)

    def _through(self, video_key: str) -> None:
        if (job := self._jobs.pop(video_key, None)) is not None:
            self._acquisition.gone(job)
        self._ask_at = 0.0

    def _begin_again(self, video_key: str) -> None:
        self._again.discard(video_key)
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
        self._alive()
        if self._media is not None:
            self._media.tidy()
        written = next((pool.done_seconds for pool in snapshot.pools if pool.name == "shards"), 0.0)
        self._on_progress(self.catalog, snapshot, self._ended_seconds + written)

    def close(self) -> None:
        self._flush_dropped()

    def _flush_dropped(self) -> None:
        records, self._dropped = self._dropped, []
        while records:
            try:
                self.catalog.record_done(self.run_id, records)
                return
            except LeaseLostError as error:
                # The others of the batch are still ours.
                left = [record for record in records if record.key not in error.lost]
                records = left if len(left) < len(records) else []

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
