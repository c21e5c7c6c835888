"""Feeds the engine from the catalog and records the outcome of every item in the catalog."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import time
from collections.abc import Callable, Collection
from typing import Any, Protocol

from mien.cluster.engine import ErrorInfo, Snapshot
from mien.cluster.engine.errors import is_media_fault
from mien.cluster.logs import get_logger
from mien.cluster.runner.acquisition import Acquisition
from mien.cluster.runner.media_retention import MediaRetention
from mien.cluster.runner.peer_runs import PeerRunMonitor
from mien.cluster.runner.retry_policy import BACKOFF_SECONDS, plan_retry
from mien.cluster.runner.shard_commit import commit_shard, segment_record
from mien.ingest.catalog import Catalog, MediaRecord, SegmentFailure, SegmentRecord, VideoFailure
from mien.ingest.errors import LeaseLostError, Policy
from mien.ingest.media import Job, MediaFile
from mien.ingest.storage import Store
from mien.pipelines.data import SegmentDone, SegmentFailed, Shard

_log = get_logger("mien.run")

WAIT_FOR_RETRY_SECONDS = 120.0
"""A run does not end while a retry is due within this time."""
CLAIM_INTERVAL_SECONDS = 1.0
"""After the catalog had nothing to claim."""


ProgressCallback = Callable[[Catalog, Snapshot, float], None]
"""Called about once per second with the seconds of media that this run has processed, committed or not."""


class EngineControl(Protocol):
    """The part of the engine that the observer calls."""

    def acknowledge(self, keys: Any) -> None: ...

    def redo(self, keys: Any) -> None: ...


class RunObserver:
    """Implements the engine's `Observer` for one run."""

    def __init__(
        self,
        catalog: Catalog,
        store: Store,
        run_id: str,
        *,
        fingerprint: str,
        heartbeat: Callable[[], None],
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
        self._fingerprint, self._heartbeat, self._on_progress, self._clock = (
            fingerprint,
            heartbeat,
            on_progress,
            clock,
        )
        self._backoff_seconds = backoff_seconds
        self._video_stages = frozenset(video_stages)
        """Names of the stages whose inputs are whole videos."""
        self._unique = unique
        """Whether a file with the same bytes as another video is skipped."""
        self._acquisition = acquisition or Acquisition(catalog, run_id, fingerprint=fingerprint, clock=clock)
        self._media = media
        self._peers = PeerRunMonitor(catalog, run_id)
        self._claim_at = 0.0
        self._jobs: dict[str, Job] = {}
        """Videos that are being fetched or split, by key."""
        self._restart: set[str] = set()
        """Those of them that must restart once they are split, because a payload was lost."""
        self._empty_segments: list[SegmentRecord] = []
        self._ended_seconds = 0.0
        """Seconds of segments that ended without samples in this run."""

    def next_inputs(self, limit: int) -> list[Job] | None:
        now = self._clock()
        if now < self._claim_at:
            return []
        if jobs := self._acquisition.claim(limit):
            self._jobs.update((job.key, job) for job in jobs)
            return list(jobs)
        self._claim_at = now + CLAIM_INTERVAL_SECONDS
        return [] if self._jobs or self._may_claim_later(now) else None

    def _may_claim_later(self, now: float) -> bool:
        if self._acquisition.is_over:
            return False
        due = self.catalog.next_try_at(fingerprint=self._fingerprint)
        if due is not None and due - now <= WAIT_FOR_RETRY_SECONDS:
            return True
        return self._peers.may_be_dead() or self._acquisition.is_worth_waiting()

    def reported(self, stage: str, item: Any) -> bool:
        """False for a duplicate file, whose video the catalog has ended."""
        duplicate_of: str | None = None
        if isinstance(item, MediaFile):
            self._acquisition.reported(item.job, item)
            with contextlib.suppress(LeaseLostError):  # another run has taken the video over
                record = media_record(item)
                duplicate_of = self.catalog.record_media(self.run_id, item.key, record, unique=self._unique)
                if duplicate_of is None and item.sound_print:
                    self.catalog.record_print(item.key, item.sound_print)
                if self._media is not None:
                    self._media.add(item)
        if duplicate_of is None:
            return True
        self._close_video(item.key)
        self._restart.discard(item.key)
        return False

    def finished(self, item: Any) -> None:
        if isinstance(item, Shard):
            self._commit(item)
        elif isinstance(item, MediaFile):  # the run only fetches
            self._close_video(item.key)
        elif isinstance(item, SegmentDone):
            self._empty_segments.append(segment_record(item))
            self._ended_seconds += item.seconds
            if len(self._empty_segments) >= 64:
                self._flush_empty_segments()
        elif isinstance(item, SegmentFailed):
            failure = SegmentFailure(
                video_key=item.video_key,
                start_ms=item.start_ms,
                end_ms=item.end_ms,
                stage=item.stage,
                error_class=item.error_class,
                text=item.text,
            )
            self._ended_seconds += item.seconds
            self._write_if_owned(lambda: self.catalog.record_segment_failure(self.run_id, failure))

    def _commit(self, shard: Shard) -> None:
        lost = commit_shard(self.catalog, self.store, self.run_id, shard)
        if lost:
            _log.warning(
                f"{shard.name} is discarded: another run took over some of its videos", shard=shard.name
            )
        else:
            _log.debug(f"committed {shard.name}", shard=shard.name, samples=shard.sample_count)
        keys = set(shard.acknowledges)
        if self.engine is not None:
            self.engine.acknowledge(lost or keys)
            self.engine.redo(keys - lost if lost else ())

    def exhausted(self, key: str, count: int) -> None:
        job = self._jobs.get(key)
        total = count + (len(job.done_starts_ms) if job else 0)
        self._flush_empty_segments()
        self._write_if_owned(lambda: self.catalog.record_split(self.run_id, key, total))
        self._close_video(key)
        if key in self._restart:
            self._restart_video(key)

    def failed(self, key: str, stage: str, error: ErrorInfo, item_seconds: float) -> None:
        # The first line is for people. The raw error follows.
        text = f"{error.text}\n{error.traceback_tail}".strip()
        if stage in self._video_stages:
            _log.debug(f"{stage} failed: {error.text}", video=key, stage=stage, error_class=error.error_class)
            video = self._video_failure(key, stage, error, text)
            self._write_if_owned(lambda: self.catalog.record_video_failure(self.run_id, video))
            self._close_video(key)
            self._restart.discard(key)
            return
        video_key, _, start_ms = key.rpartition("-")
        _log.debug(
            f"{stage} failed: {error.text}",
            video=video_key,
            segment=key,
            stage=stage,
            error_class=error.error_class,
        )
        segment = SegmentFailure(
            video_key=video_key,
            start_ms=int(start_ms),
            end_ms=int(start_ms) + round(item_seconds * 1000),
            stage=stage,
            error_class=error.error_class,
            text=text,
        )
        self._write_if_owned(lambda: self.catalog.record_segment_failure(self.run_id, segment))

    def _video_failure(self, key: str, stage: str, error: ErrorInfo, text: str) -> VideoFailure:
        job, now = self._jobs.get(key), self._clock()
        retry_at = self._acquisition.failed(job, error) if job else None
        if retry_at is None and job and job.media_uri and is_media_fault(error.error_class):
            # The retained copy is broken or missing: fetch the original again.
            self._write_if_owned(lambda: self.catalog.forget_retained(self.run_id, key))
            retry_at = now
        policy = Policy.STOP
        if retry_at is None:
            policy, retry_at = plan_retry(
                error, attempts=job.attempts if job else 0, backoff_seconds=self._backoff_seconds, now=now
            )
        return VideoFailure(
            key=key,
            stage=stage,
            error_class=error.error_class,
            text=text,
            policy=policy,  # STOP: the video waits, and no attempt is counted
            next_try_at=retry_at,
        )

    def lost(self, key: str) -> None:
        """A payload was lost with its node. The video restarts, except for its committed segments."""
        video_key = key.rpartition("-")[0]
        if video_key in self._jobs:
            # Wait for the current split: two splits of one video would confuse the count of segments.
            self._restart.add(video_key)
            return
        if key in self._jobs:
            self._close_video(key)
            video_key = key
        self._restart_video(video_key)

    def _close_video(self, video_key: str) -> None:
        if (job := self._jobs.pop(video_key, None)) is not None:
            self._acquisition.abandon(job)
        self._claim_at = 0.0

    def _restart_video(self, video_key: str) -> None:
        self._restart.discard(video_key)
        failure = VideoFailure(
            key=video_key,
            stage="",
            error_class="ObjectLost",
            text="a node with intermediate results of this video was lost; the video is restarted",
            policy=Policy.RETRY,
            next_try_at=self._clock(),
        )
        self._write_if_owned(lambda: self.catalog.record_video_failure(self.run_id, failure))

    def tick(self, snapshot: Snapshot) -> None:
        self._flush_empty_segments()
        self._heartbeat()
        if self._media is not None:
            self._media.tidy()
        written = next((pool.done_seconds for pool in snapshot.pools if pool.name == "shards"), 0.0)
        self._on_progress(self.catalog, snapshot, self._ended_seconds + written)

    def close(self) -> None:
        self._flush_empty_segments()

    def _flush_empty_segments(self) -> None:
        records, self._empty_segments = self._empty_segments, []
        while records:
            try:
                self.catalog.record_done(self.run_id, records)
                return
            except LeaseLostError as error:
                # This run still owns the other videos of the batch.
                left = [record for record in records if record.key not in error.lost]
                records = left if len(left) < len(records) else []

    def _write_if_owned(self, write: Callable[[], None]) -> None:
        """Writes to the catalog, unless another run has taken the video over."""
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
