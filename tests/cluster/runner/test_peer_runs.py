"""Heartbeats, and how a run detects that another run is alive or dead."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from mien.cluster.runner.observer import RunObserver
from mien.cluster.runner.peer_runs import Heartbeat, PeerRunMonitor
from mien.ingest.catalog import Catalog, SegmentRecord
from mien.ingest.errors import LeaseLostError
from mien.ingest.storage import open_store
from tests.ingest.catalog.makers import LEASE_SECONDS, Clock, begin, ref, segment_failure


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def catalog(tmp_path: Path, clock: Clock) -> Catalog:
    return Catalog.open(f"sqlite:///{tmp_path}/catalog.db", clock=clock)


def observer_of(catalog: Catalog, run_id: str, folder: Path, clock: Clock) -> RunObserver:
    return RunObserver(
        catalog,
        open_store(str(folder)),
        run_id,
        fingerprint="f1",
        heartbeat=lambda: None,
        video_stages=("fetch", "split"),
        on_progress=lambda catalog, snapshot, seconds: None,
        clock=clock,
    )


def test_renewed_lease_proves_run_is_alive(catalog: Catalog, clock: Clock) -> None:
    catalog.add([ref("a")])
    other, own = begin(catalog), begin(catalog)
    others = PeerRunMonitor(catalog, own)
    assert not others.may_be_dead()
    catalog.claim(other, limit=1)
    assert others.may_be_dead()
    clock.sleep(10)
    assert others.may_be_dead()
    catalog.heartbeat(other)
    assert not others.may_be_dead()


def test_run_waits_for_videos_of_dead_run(catalog: Catalog, clock: Clock, tmp_path: Path) -> None:
    catalog.add([ref("a")])
    dead, own = begin(catalog), begin(catalog)
    catalog.claim(dead, limit=1)
    observer = observer_of(catalog, own, tmp_path, clock)
    for _ in range(6):
        assert observer.next_inputs(1) == []
        clock.sleep(LEASE_SECONDS / 6)
        catalog.heartbeat(own)
    clock.sleep(1)
    assert [job.key for job in observer.next_inputs(1) or ()] == ["folder-a"]
    observer.exhausted("folder-a", 0)
    assert observer.next_inputs(1) is None


def test_lost_video_restarts_after_its_split(catalog: Catalog, clock: Clock, tmp_path: Path) -> None:
    catalog.add([ref("a")])
    own = begin(catalog)
    observer = observer_of(catalog, own, tmp_path, clock)
    assert len(observer.next_inputs(1) or ()) == 1
    observer.lost("folder-a-000000000")
    observer.lost("folder-a-000060000")
    clock.sleep(2)
    assert observer.next_inputs(1) == []
    catalog.record_done(own, [SegmentRecord(video_key="folder-a", start_ms=120000, end_ms=180000)])
    observer.exhausted("folder-a", 3)
    [job] = observer.next_inputs(1) or []
    assert job.done_starts_ms == {120000}
    for start in (0, 60):
        catalog.record_segment_failure(own, segment_failure("a", start))
    assert catalog.status().videos["running"] == 1
    observer.exhausted("folder-a", 2)
    assert catalog.status().videos["partial"] == 1


def holding(catalog: Catalog) -> tuple[str, float]:
    catalog.add([ref("a")])
    run_id = begin(catalog)
    catalog.claim(run_id, limit=1)
    return run_id, catalog.holders()[run_id]


def test_heartbeat_renews_lease_and_reports_loss(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        run_id, until = holding(catalog)
        with Heartbeat(catalog, run_id, lease_seconds=0.2) as heartbeat:
            while catalog.holders()[run_id] == until:
                heartbeat.alive()
            catalog.end_run(run_id, "taken over")
            with pytest.raises(LeaseLostError):
                while True:
                    heartbeat.alive()
                    time.sleep(0.01)


def test_hanging_driver_loses_its_lease(tmp_path: Path) -> None:
    with Catalog.open(f"sqlite:///{tmp_path}/catalog.db") as catalog:
        run_id, until = holding(catalog)
        heartbeat = Heartbeat(catalog, run_id, lease_seconds=0.2, patience_seconds=0.0)
        heartbeat.alive()
        with heartbeat:
            time.sleep(0.5)
            assert catalog.holders()[run_id] == until
