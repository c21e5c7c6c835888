"""A run from its start to its end: what `mien run` does."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.config import Settings, check_licences, fingerprint
from cluster.engine import Engine, Snapshot
from cluster.local import LocalEngine
from cluster.runner.commit import recover
from cluster.runner.observer import RunObserver
from cluster.runner.recipe import build_pools, build_stages, usable_cpus
from ingest.catalog import Catalog, Status
from ingest.errors import ProviderError
from ingest.storage import open_store

LEASE_SECONDS = 60.0
WAIT_FOR_RETRY_SECONDS = 120.0
OBJECT_STORE_BYTES = 1 << 30


@dataclass(frozen=True, slots=True, kw_only=True)
class RunResult:
    run_id: str
    seconds: float
    status: Status
    elsewhere: int
    """Videos that were begun under another configuration, and left alone."""


def run(
    settings: Settings,
    *,
    local: bool = False,
    show: Callable[[Catalog, Snapshot, float], None] = lambda catalog, snapshot, seconds: None,
    say: Callable[[str], None] = lambda line: None,
) -> RunResult:
    """Everything the catalog has to do, into committed shards.

    Raises:
        UsageError, WeightsError, StorageError, CatalogError: before or while running, what stops it. What
            was committed stays, what was not is done by the next run.
    """
    began = time.monotonic()
    check_licences(settings)
    if local or not settings.engine.address:
        prove_accelerators(settings)
    hashed = fingerprint(settings)
    store = open_store(settings.store.shards_uri)
    store.check_writable()
    spool = Path(settings.store.root).absolute() / "spool"
    with contextlib.closing(Catalog.open(settings.store.catalog_url)) as catalog:
        run_id = catalog.begin_run(
            fingerprint=hashed,
            config_json=json.dumps(dataclasses.asdict(settings), default=str),
            host=socket.gethostname(),
            lease_seconds=LEASE_SECONDS,
        )
        outcome = "failed"
        try:
            recover(catalog, store, spool, report=say)
            stages = build_stages(settings, run_id=run_id, fingerprint=hashed)
            observer = RunObserver(
                catalog,
                store,
                run_id,
                lease_seconds=LEASE_SECONDS,
                show=show,
            )
            outcome = _drive(settings, catalog, observer, stages, local=local, fingerprint=hashed)
        finally:
            catalog.end_run(run_id, outcome)
            with contextlib.suppress(OSError):
                (spool / run_id).rmdir()
        return RunResult(
            run_id=run_id,
            seconds=time.monotonic() - began,
            status=catalog.status(),
            elsewhere=catalog.other_fingerprint_count(hashed),
        )


def prove_accelerators(settings: Settings) -> None:
    """Raises ProviderError, before anything is started, where CUDA was asked for and cannot be had."""
    if "cuda" not in (settings.faces.device, settings.transcribe.device):
        return
    from cluster.doctor import Status as Verdict
    from cluster.doctor import accelerators

    for check in (*accelerators.onnxruntime(settings), *accelerators.ctranslate2(settings)):
        if check.status is Verdict.FAIL:
            raise ProviderError(f"{check.name}: {check.message}; {check.cure}")


def _drive(
    settings: Settings,
    catalog: Catalog,
    observer: RunObserver,
    stages: list[Any],
    *,
    local: bool,
    fingerprint: str,
) -> str:
    stopped: list[int] = []
    while True:
        pools = build_pools(settings, stages, cpus=usable_cpus(settings))
        engine: Engine | LocalEngine
        if local:
            engine = LocalEngine(pools, observer)
        else:
            engine = Engine(
                pools,
                observer,
                address=settings.engine.address or None,
                num_cpus=settings.engine.cpus,
                max_attempts=settings.engine.max_attempts,
                object_store_bytes=settings.engine.object_store_bytes or OBJECT_STORE_BYTES,
            )
        observer.engine = engine
        with _stopping(engine, stopped):
            engine.run()
        observer.close()
        due = catalog.next_try_at(fingerprint=fingerprint)
        if stopped:
            return "stopped"
        if due is None or due - time.time() > WAIT_FOR_RETRY_SECONDS:
            return "finished"
        catalog.heartbeat(observer.run_id)
        time.sleep(max(0.0, min(due - time.time(), LEASE_SECONDS / 4)))


@contextlib.contextmanager
def _stopping(engine: Engine | LocalEngine, stopped: list[int]) -> Iterator[None]:
    """The first SIGINT or SIGTERM lets what is under way finish and be committed; the second ends at once."""

    def handle(number: int, _: Any) -> None:
        if stopped:
            raise KeyboardInterrupt
        stopped.append(number)
        engine.stop()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
