"""The guarantees of the engine without failures, and its methods for the runner."""

import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien.cluster.engine import Engine, Observer, PoolSpec, Snapshot
from mien.cluster.engine.worker import CLOSE_SECONDS
from mien.cluster.local import LocalEngine
from mien.ingest.errors import InfeasibleError
from tests.cluster.engine.stages import (
    Aggregate,
    Closing,
    Obey,
    Parcel,
    Recorder,
    Split,
    Threads,
    parcels,
    pool,
)

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_backend")]
ENGINES = pytest.mark.parametrize("engine_class", [LocalEngine, Engine])


@ENGINES
def test_both_engines_report_the_same_outcomes(engine_class: Any) -> None:
    """Dropped, split, final, failed and reported items."""
    orders = {2: "drop", 3: "raise", 4: "twice", 5: "stumble", 6: "final"}
    observer = Recorder(parcels(8, b=orders))
    pools = [
        pool(Obey("a"), reports_outputs=True),
        pool(Split(count=2)),
        pool(Obey("b")),
        pool(Obey("c")),
    ]
    engine_class(pools, observer).run()
    ends = {item.key: item.stages for item in observer.finished_items}
    assert len(ends) == len(observer.finished_items)
    ordinary = {f"p{n:03d}-{child}": ("a", "b", "c") for n in (0, 1, 7) for child in "01"}
    twins = {f"p004-{child}{twin}": ("a", "b", "c") for child in "01" for twin in "ab"}
    finals = {f"p006-{child}": ("a", "b") for child in "01"}
    assert ends == ordinary | twins | finals
    assert observer.error_classes == {
        f"p{number:03d}-{child}": kind
        for number, kind in ((3, "CorruptMediaError"), (5, "UnexpectedError"))
        for child in "01"
    }
    dropped = {"p002-0": 0, "p002-1": 0, "p004-0": 2, "p004-1": 2}
    assert observer.exhaustions == {f"p{number:03d}": 2 for number in range(8)} | dropped
    assert sorted(item.key for _, item in observer.reports) == [f"p{number:03d}" for number in range(8)]


@ENGINES
def test_both_engines_aggregate_every_item_once(engine_class: Any) -> None:
    observer = Recorder(parcels(23))
    engine = engine_class([pool(Obey("a")), pool(Aggregate(size=5))], observer)
    observer.on_finished = lambda box: engine.acknowledge(box.acknowledges)
    engine.run()
    assert observer.boxed == Counter(f"p{number:03d}" for number in range(23))
    assert [len(box.acknowledges) for box in observer.finished_items] == [5, 5, 5, 5, 3]


@ENGINES
def test_redone_items_are_aggregated_again(engine_class: Any) -> None:
    observer = Recorder(parcels(10))
    engine = engine_class([pool(Obey("a")), pool(Aggregate(size=5))], observer)

    def commit(box: Any) -> None:
        refused = [key for key in box.acknowledges if key == "p003" and observer.boxed[key] == 1]
        if refused:
            engine.redo([key for key in box.acknowledges if key != "p004"])
            engine.acknowledge(["p004"])
        else:
            engine.acknowledge(box.acknowledges)

    observer.on_finished = commit
    engine.run()
    redone = {f"p00{number}" for number in range(4)}
    assert observer.boxed == {f"p00{n}": 2 if f"p00{n}" in redone else 1 for n in range(10)}


def test_death_while_aggregating_loses_no_item(tmp_path: Path) -> None:
    items = [
        replace(p, folder=str(tmp_path)) for p in parcels(31, aggregate={13: "kill once", 22: "kill once"})
    ]
    observer = Recorder(items)
    Engine([pool(Obey("a")), pool(Aggregate(size=10))], observer).run()
    assert observer.boxed == Counter(f"p{number:03d}" for number in range(31))
    assert not observer.failures


def test_only_items_that_kill_while_aggregating_fail() -> None:
    observer = Recorder(parcels(31, aggregate={13: "kill", 20: "stumble"}))
    Engine([pool(Obey("a")), pool(Aggregate(size=10), workers=2)], observer).run()
    assert observer.boxed == Counter(f"p{n:03d}" for n in range(31) if n not in (13, 20))
    assert observer.error_classes == {"p013": "WorkerDiedError", "p020": "UnexpectedError"}


def test_old_held_items_are_flushed(tmp_path: Path) -> None:
    """The last parcel waits until the others are flushed, which are too few to fill a box."""
    observer = Recorder([replace(item, folder=str(tmp_path)) for item in parcels(6, a={5: "gate"})])

    def open_gate(box: Any) -> None:
        if len(observer.boxed) == 5:
            (tmp_path / "open").touch()

    observer.on_finished = open_gate
    Engine([pool(Obey("a"), deadline=120), pool(Aggregate(size=100), flush_seconds=1)], observer).run()
    assert observer.boxed == Counter(f"p{number:03d}" for number in range(6))
    assert observer.finished_items[-1].acknowledges == ("p005",)


def test_many_held_bytes_are_flushed(tmp_path: Path) -> None:
    """The last parcel waits for a box. The others are too few and too young to cause one."""
    items = parcels(10, body=100_000, a={9: "gate"})
    observer = Recorder([replace(item, folder=str(tmp_path)) for item in items])
    observer.on_finished = lambda box: (tmp_path / "open").touch()
    aggregate = pool(Aggregate(size=100), flush_seconds=600, retain_bytes=500_000)
    Engine([pool(Obey("a"), deadline=120), aggregate], observer).run()
    assert len(observer.finished_items) > 1
    assert len(observer.finished_items[0].acknowledges) >= 5
    assert observer.boxed == Counter(f"p{number:03d}" for number in range(10))


def test_queues_stay_below_their_caps(tmp_path: Path) -> None:
    """A fast fan-out of 1 MB items feeds a stage that waits until its queue stops growing."""
    gated = [replace(item, folder=str(tmp_path), orders={"b": "gate"}) for item in parcels(4)]
    observer = Recorder(gated)

    def open_gate(snapshot: Snapshot) -> None:
        split, a, b = snapshot.pools
        latest = observer.snapshots[-3:]
        unchanged = len(latest) == 3 and all(before.pools[:2] == (split, a) for before in latest)
        if unchanged and a.queued >= 2 and b.queued_bytes >= 3_000_000:
            (tmp_path / "open").touch()

    observer.on_tick = open_gate
    specs = [
        pool(Split(count=30, body=1_000_000)),
        pool(Obey("a"), queue_items=6),
        pool(Obey("b"), queue_items=100, queue_bytes=5_000_000, deadline=120),
    ]
    Engine(specs, observer).run()
    assert len(observer.finished_items) == 120
    _, a, b = observer.snapshots[-1].pools
    assert 2 <= a.peak_queued <= 6
    assert 3_000_000 <= b.peak_queued_bytes <= 5_000_000


def test_item_larger_than_the_cap_passes() -> None:
    observer = Recorder(parcels(5, body=3_000_000))
    Engine([pool(Obey("a")), pool(Obey("b"), queue_bytes=1_000_000)], observer).run()
    assert len(observer.finished_items) == 5


def test_stop_flushes_and_returns_early() -> None:
    observer = Recorder(parcels(1000, a=dict.fromkeys(range(1000), "sleep 0.05")))
    engine = Engine([pool(Obey("a")), pool(Obey("b")), pool(Aggregate(size=7))], observer)
    observer.on_finished = lambda box: engine.stop() if len(observer.finished_items) == 3 else None
    engine.run()
    assert 21 <= len(observer.boxed) <= 40
    assert set(observer.boxed.values()) == {1}


def test_observer_error_ends_the_run_after_a_flush() -> None:
    observer = Recorder(parcels(1000, a=dict.fromkeys(range(1000), "sleep 0.05")))

    def lose_lease(_: Snapshot) -> None:
        if len(observer.snapshots) == 5:
            raise KeyError("lease")

    observer.on_tick = lose_lease
    with pytest.raises(KeyError, match="lease"):
        Engine([pool(Obey("a")), pool(Aggregate(size=1000))], observer).run()
    assert len(observer.finished_items) <= 1


def test_inputs_may_arrive_later() -> None:
    class Slow(Recorder):
        asked = 0

        def next_inputs(self, limit: int) -> list[Parcel] | None:
            self.asked += 1
            return [] if self.asked % 3 else super().next_inputs(1)

    observer = Slow(parcels(4))
    Engine([pool(Obey("a"))], observer).run()
    assert len(observer.finished_items) == 4


def test_run_without_items() -> None:
    observer = Recorder([])
    Engine([pool(Obey("a")), pool(Aggregate())], observer).run()
    assert observer.finished_items == []


def test_pools_that_do_not_fit_are_refused() -> None:
    specs = [PoolSpec(stage=Obey("a"), workers=40, cpus=1), PoolSpec(stage=Obey("b"), workers=1, cpus=0.5)]
    with pytest.raises(
        InfeasibleError, match=r"the pools need 40.5 CPUs .*a 40 × 1 CPU.* has 32 CPUs"
    ) as caught:
        Engine(specs, Recorder([])).check()
    assert "\n" not in str(caught.value)


def test_missing_gpus_are_refused() -> None:
    with pytest.raises(InfeasibleError, match=r"1 CPU \+ 3 GPU"):
        Engine([PoolSpec(stage=Obey("a"), workers=1, cpus=1, gpus=3)], Recorder([])).check()


def test_snapshot_adds_up() -> None:
    observer = Recorder(parcels(60, a=dict.fromkeys(range(60), "sleep 0.05")))
    Engine([pool(Obey("a")), pool(Obey("b"))], observer).run()
    last = observer.snapshots[-1]
    assert [entry.name for entry in last.pools] == ["a", "b"]
    assert 0 < last.pools[0].done <= 60
    assert last.pools[0].rss_bytes > 10_000_000
    assert last.pools[0].busy_seconds >= 0.05 * last.pools[0].done


def test_idle_workers_close_their_stages(tmp_path: Path) -> None:
    observer = Recorder(parcels(8))
    Engine([pool(Closing("a", tmp_path), workers=2), pool(Closing("b", tmp_path))], observer).run()
    assert sorted(path.name.partition("-")[0] for path in tmp_path.iterdir()) == ["a", "a", "b"]


def test_hanging_close_delays_the_end_by_seconds_only(tmp_path: Path) -> None:
    engine = Engine([pool(Closing("a", tmp_path, order="hang"))], Recorder(parcels(2)))
    engine.check()
    engine.start()
    while engine.pools[0].done != 2:
        engine.step()
    began = time.monotonic()
    engine.end_workers()
    assert CLOSE_SECONDS <= time.monotonic() - began < CLOSE_SECONDS + 30
    engine.close()
    assert not list(tmp_path.iterdir())


def test_threads_follow_the_cpu_share() -> None:
    observer = Recorder(parcels(1))
    Engine([PoolSpec(stage=Threads("a"), workers=1, cpus=2.5)], observer).run()
    assert observer.keys == ["33"]


def test_recorder_is_an_observer() -> None:
    observer: Observer = Recorder([])
    assert observer.next_inputs(1) is None
