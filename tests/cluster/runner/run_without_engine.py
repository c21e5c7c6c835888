"""A run without an engine: the test calls the observer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mien.cluster.engine.errors import classify
from mien.cluster.runner.acquisition import Acquisition
from mien.cluster.runner.observer import RunObserver
from mien.ingest import errors
from mien.ingest.catalog import Catalog, MediaRecord
from mien.ingest.errors import MienError
from mien.ingest.media import Job, MediaFile
from mien.ingest.rate.identity import Identity
from mien.ingest.storage import open_store
from tests.ingest.catalog.makers import Clock

A, B = Identity("a", videos_per_hour=0), Identity("b", videos_per_hour=0)


def media_of(job: Job, *, requests: int = 5, size: int = 1000) -> MediaFile:
    return MediaFile(
        job=job,
        path="/nowhere",
        bytes=size,
        sha256=job.key,
        container="mov,mp4",
        zero_seconds=0.0,
        duration_seconds=1.0,
        declared_seconds=1.0,
        video=None,
        audio=None,
        usage_requests=requests,
        usage_bytes=size,
    )


def media_record(size: int) -> MediaRecord:
    return MediaRecord(sha256="0", bytes=size, duration_seconds=1.0)


class Run:
    """A run whose observer is called by the test instead of an engine."""

    def __init__(
        self, catalog: Catalog, clock: Clock, folder: Path, *identities: Identity, **options: Any
    ) -> None:
        self.catalog, self.clock = catalog, clock
        self.id = catalog.begin_run(fingerprint="f1", config_json="{}", host="h", lease_seconds=1e9)
        self.acquisition = Acquisition(
            catalog,
            self.id,
            fingerprint="f1",
            identities=identities,
            clock=clock,
            **{"at_once": 2, **options},
        )
        self.observer = RunObserver(
            catalog,
            open_store(str(folder)),
            self.id,
            fingerprint="f1",
            heartbeat=lambda: None,
            video_stages=("fetch", "split"),
            on_progress=lambda catalog, snapshot, seconds: None,
            acquisition=self.acquisition,
            clock=clock,
        )

    def next(self, limit: int = 8) -> list[Job] | None:
        """The next inputs, one second after the previous request."""
        self.clock.sleep(1.0)
        return self.observer.next_inputs(limit)

    def fail(self, job: Job, error: MienError) -> None:
        self.observer.failed(job.key, "fetch", classify(error), 1.0)

    def had(self, job: Job, *, requests: int = 5, size: int = 1000) -> None:
        self.observer.reported("fetch", media_of(job, requests=requests, size=size))
        self.observer.exhausted(job.key, 0)

    def history(self, job: Job) -> Any:
        return self.catalog.explain(job.key)


def wall(retry_after: float | None = None) -> MienError:
    error = errors.BotWallError("youtube: confirm that you are not a bot")
    error.retry_after_seconds = retry_after
    return error


def jobs_of(jobs: list[Job] | None) -> list[Job]:
    assert jobs is not None
    return jobs
