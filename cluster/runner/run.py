"""`mien run`: one run from start to end."""

from __future__ import annotations

import contextlib
import json
import math
import socket
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import structlog

from mien.cluster.config import Settings, check_licences, fingerprint
from mien.cluster.config.sections import EngineSettings
from mien.cluster.config.show import redact
from mien.cluster.engine import Engine, PoolSpec, ProcessBackend, RayBackend
from mien.cluster.engine.backends.interface import Backend
from mien.cluster.local import LocalEngine
from mien.cluster.runner.acquisition import Acquisition
from mien.cluster.runner.graceful_shutdown import GracefulShutdown
from mien.cluster.runner.media_retention import MediaRetention
from mien.cluster.runner.observer import ProgressCallback, RunObserver
from mien.cluster.runner.peer_runs import Heartbeat
from mien.cluster.runner.pool_planning import build_context, build_pools, build_stages, usable_cpus
from mien.cluster.runner.recovery import check_shards_location, recover, remove_uncommitted
from mien.ingest.catalog import Catalog, CatalogStatus, EgressStatus, MediaRoom
from mien.ingest.errors import MienError, ProviderError
from mien.ingest.platforms import PLATFORMS
from mien.ingest.storage import Store, open_store
from mien.ingest.storage.error_mapping import translated
from mien.pipelines.shards.spool import SpoolFolder

HANG_SECONDS = 300.0
"""A driver without progress for this long is considered dead."""
PLAIN_DOWNLOADS = 4
"""Parallel downloads of URLs and objects. They keep two cores busy validating; more would cost memory."""
DOWNLOADS_PER_IDENTITY, MAX_DOWNLOADS = 2, 16
"""Parallel downloads from platforms: more than one per identity, because a slow download must not leave its
budget unused."""
OBJECT_STORE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    run_id: str
    seconds: float
    status: CatalogStatus
    room: MediaRoom
    egress: list[EgressStatus]
    """Per platform and identity."""
    other_fingerprint_videos: int
    """Videos that were started with another configuration. This run skipped them."""
    signal: int | None = None
    """The signal that stopped the run early."""


def run(
    settings: Settings,
    *,
    local: bool = False,
    only_fetch: bool = False,
    on_progress: ProgressCallback = lambda catalog, snapshot, seconds: None,
) -> RunResult:
    """Processes all videos in the catalog into committed shards.

    With `only_fetch`, media are downloaded and validated, and stay in the media cache for a later run. The
    run ends early if the cache or the byte budget is full.

    Raises:
        UsageError, WeightsError, StorageError, CatalogError: the run cannot start or continue. Committed
            shards remain, and the next run does the rest.
    """
    started_at = time.monotonic()
    check_licences(settings)
    if not only_fetch and (local or not settings.engine.address):
        check_accelerators(settings)
    digest = fingerprint(settings)
    store = open_store(settings.store.shards_uri)
    spool = Path(settings.store.root).absolute() / "spool"
    with GracefulShutdown() as shutdown, contextlib.closing(_open_catalog(settings)) as catalog:
        check_shards_location(catalog, store)
        check_downloads(settings, catalog, digest, local=local)
        run_id = catalog.begin_run(
            fingerprint=digest,
            config_json=json.dumps(redact(settings), default=str),
            host=socket.gethostname(),
            lease_seconds=settings.engine.lease_seconds,
        )
        heartbeat = Heartbeat(
            catalog,
            run_id,
            lease_seconds=settings.engine.lease_seconds,
            # In one process, an item may take any time.
            patience_seconds=math.inf if local else _patience_seconds(settings.engine),
        )
        with _owned_spool(spool, run_id), heartbeat, structlog.contextvars.bound_contextvars(run_id=run_id):
            try:
                store.check_writable(f"{run_id}-write-check")
                if settings.fetch.keep_uri:
                    open_store(settings.fetch.keep_uri).check_writable(f"{run_id}-write-check")
                recover(catalog, store, spool)
                _run_pools(
                    settings,
                    catalog,
                    store,
                    run_id,
                    shutdown,
                    heartbeat=heartbeat,
                    fingerprint=digest,
                    local=local,
                    only_fetch=only_fetch,
                    on_progress=on_progress,
                )
            except BaseException:
                with contextlib.suppress(MienError):  # the first error is the useful one
                    _end(catalog, store, run_id, "failed")
                raise
            _end(catalog, store, run_id, "finished" if shutdown.signal is None else "stopped")
        return RunResult(
            run_id=run_id,
            seconds=time.monotonic() - started_at,
            status=catalog.status(),
            room=catalog.media_room(with_waiting=True),
            egress=catalog.egress_everywhere(settings.acquire.identities),
            other_fingerprint_videos=catalog.other_fingerprint_count(digest),
            signal=shutdown.signal,
        )


def _open_catalog(settings: Settings) -> Catalog:
    return Catalog.open(settings.store.catalog_url, patience_seconds=settings.engine.catalog_wait_seconds)


def _patience_seconds(options: EngineSettings) -> float:
    """How long the heartbeat waits for progress of the driver, not counting outages of the catalog."""
    return max(HANG_SECONDS, options.lease_seconds) + options.catalog_wait_seconds


@contextlib.contextmanager
def _owned_spool(spool: Path, run_id: str) -> Iterator[None]:
    with translated(f"writing to {spool}"):
        held = SpoolFolder(spool, run_id)
        held.mark_driver()
    try:
        yield
    finally:
        held.close()


def _end(catalog: Catalog, store: Store, run_id: str, outcome: str) -> None:
    """Ends the run and deletes the unfinished files of its writers."""
    catalog.end_run(run_id, outcome)
    store.sweep(f"{run_id}-", older_than_seconds=0)
    remove_uncommitted(catalog, store, of=run_id)


def check_accelerators(settings: Settings) -> None:
    """Raises ProviderError before the run starts if CUDA is configured but not usable."""
    if "cuda" not in (settings.faces.device, settings.transcribe.device):
        return
    from mien.cluster.doctor import CheckStatus, accelerators

    for check in (*accelerators.onnxruntime(settings), *accelerators.ctranslate2(settings)):
        if check.status is CheckStatus.FAIL:
            raise ProviderError(f"{check.name}: {check.message}; {check.fix}")


def check_downloads(settings: Settings, catalog: Catalog, fingerprint: str, *, local: bool) -> None:
    """Checks before the run starts that the waiting videos can be downloaded.

    Raises UsageError, StorageDeniedError or InfeasibleError. Without this check, each video would fail for
    the same reason.
    """
    identities = settings.acquire.identities
    from mien.cluster.doctor.acquisition import check_acquisition

    if catalog.rate_limited_at(fingerprint=fingerprint, identities=identities) != (None, None):
        waiting = [name for name in PLATFORMS if catalog.has_waiting(name)]
        check_acquisition(settings, waiting, local=local)
    if catalog.has_waiting("http"):
        check_acquisition(settings, {"http"})


def _run_pools(
    settings: Settings,
    catalog: Catalog,
    store: Store,
    run_id: str,
    shutdown: GracefulShutdown,
    *,
    heartbeat: Heartbeat,
    fingerprint: str,
    local: bool,
    only_fetch: bool,
    on_progress: ProgressCallback,
) -> None:
    options, acquire = settings.engine, settings.acquire
    stages = build_stages(settings)
    context = build_context(settings, run_id=run_id, fingerprint=fingerprint)
    is_asking = catalog.rate_limited_at(fingerprint=fingerprint, identities=acquire.identities) != (
        None,
        None,
    )
    downloads = min(MAX_DOWNLOADS, DOWNLOADS_PER_IDENTITY * len(acquire.identities)) if is_asking else 0
    if downloads < PLAIN_DOWNLOADS and catalog.has_waiting("http", "object"):
        downloads = PLAIN_DOWNLOADS
    pools = build_pools(settings, stages, cpus=usable_cpus(settings), downloads=downloads)
    pools = pools[:1] if only_fetch else pools
    media = MediaRetention(catalog, run_id, settings.fetch, acquire.keep_media, only_fetch=only_fetch)
    observer = RunObserver(
        catalog,
        store,
        run_id,
        fingerprint=fingerprint,
        heartbeat=heartbeat.alive,
        on_progress=on_progress,
        video_stages=[stage.name for stage in stages if stage.takes_videos],
        unique=settings.fetch.duplicates == "skip",
        backoff_seconds=acquire.retry_seconds,
        media=media,
        acquisition=Acquisition(
            catalog,
            run_id,
            fingerprint=fingerprint,
            identities=acquire.identities,
            at_once=1 if local else pools[0].workers,
            media_budget_bytes=acquire.media_budget_bytes,
            frees_space=not only_fetch,
            has_space=(lambda: True) if only_fetch else media.has_space,
            wait=acquire.wait,
        ),
    )
    engine: Engine | LocalEngine
    if local:
        engine = LocalEngine(pools, observer, context=context)
    else:
        engine = Engine(
            pools,
            observer,
            backend=_backend(settings, pools, only_fetch=only_fetch),
            context=context,
            max_attempts=options.max_attempts,
        )
    observer.engine = engine
    media.renew()
    shutdown.attach(engine)
    videos = observer.catalog.status().videos
    if shutdown.signal is None and videos["waiting"] + videos["running"]:
        engine.run()
    observer.close()
    media.release(closing=not only_fetch)


def _backend(settings: Settings, pools: list[PoolSpec], *, only_fetch: bool) -> Backend:
    """Ray, except for fetching on this machine only: that takes less time than starting Ray."""
    options = settings.engine
    if only_fetch and not options.address:
        return ProcessBackend([pool.stage for pool in pools], cpus=usable_cpus(settings))
    return RayBackend(
        address=options.address or None,
        num_cpus=options.cpus,
        object_store_bytes=options.object_store_bytes or OBJECT_STORE_BYTES,
    )
