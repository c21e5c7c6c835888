"""What the engine promises when nothing is wrong, and what the runner may ask of it."""

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mien.cluster.engine import Engine, Observer, PoolSpec, Snapshot
from mien.cluster.local import LocalEngine
from mien.ingest.errors import InfeasibleError
from tests.cluster.engine.stages import Gather, Obey, Parcel, Recorder, Split, Threads, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_backend")]
ENGINES = pytest.mark.parametrize("engine_class", [LocalEngine, Engine])


@ENGINES
def test_both_engines_say_the_same(engine_class: Any) -> None:
    """The contract: drops, splits, finals, failures and reports are told alike."""
    orders = {2: "drop", 3: "raise", 4: "twice", 5: "stumble", 6: "final"}
    observer = Recorder(parcels(8, b=orders))
    pools = [
        pool(Obey("a"), report=True),
        pool(Split(count=2), fan_out=True),
        pool(Obey("b")),
        pool(Obey("c")),
    ]
    engine_class(pools, observer).run()
    ends = {item.key: item.trail for item in observer.finished_items}
    assert len(ends) == len(observer.finished_items)
    ordinary = {f"p{n:03d}-{child}": ("a", "b", "c") for n in (0, 1, 7) for child in "01"}
    twins = {f"p004-{child}{twin}": ("a", "b", "c") for child in "01" for twin in "ab"}
    finals = {f"p006-{child}": ("a", "b") for child in "01"}
    assert ends == ordinary | twins | finals
    assert observer.failed_as == {
        f"p{number:03d}-{child}": kind
        for number, kind in ((3, "CorruptMediaError"), (5, "UnexpectedError"))
        for child in "01"
    }
    dropped = {"p002-0": 0, "p002-1": 0, "p004-0": 2, "p004-1": 2}
    assert observer.exhaustions == {f"p{number:03d}": 2 for number in range(8)} | dropped
    assert sorted(item.key for _, item in observer.reports) == [f"p{number:03d}" for number in range(8)]


@ENGINES
def test_both_engines_gather_every_item_once_and_flush_the_rest(engine_class: Any) -> None:
    observer = Recorder(parcels(23))
    engine = engine_class([pool(Obey("a")), pool(Gather(size=5))], observer)
    observer.on_finished = lambda box: engine.acknowledge(box.acknowledges)
    engine.run()
    assert observer.boxed == Counter(f"p{number:03d}" for number in range(23))
    assert [len(box.acknowledges) for box in observer.finished_items] == [5, 5, 5, 5, 3]


@ENGINES
def test_what_may_not_be_committed_is_gathered_again(engine_class: Any) -> None:
    observer = Recorder(parcels(10))
    engine = engine_class([pool(Obey("a")), pool(Gather(size=5))], observer)

    def commit(box: Any) -> None:
        refused = [key for key in box.acknowledges if key == "p003" and observer.boxed[key] == 1]
        if refused:
            engine.redo([key for key in box.acknowledges if key != "p004"])
            engine.acknowledge(["p004"])
        else:
            engine.acknowledge(box.acknowledges)

    observer.on_finished = commit
    engine.run()
    again = {f"p00{number}" for number in range(4)}
    assert observer.boxed == {f"p00{n}": 2 if f"p00{n}" in again else 1 for n in range(10)}


def test_a_gathering_worker_s_death_loses_and_repeats_nothing(tmp_path: Path) -> None:
    items = [replace(p, folder=str(tmp_path)) for p in parcels(31, gather={13: "kill once", 22: "kill once"})]
    observer = Recorder(items)
    Engine([pool(Obey("a")), pool(Gather(size=10))], observer).run()
    assert observer.boxed == Counter(f"p{number:03d}" for number in range(31))
    assert not observer.failures


def test_an_item_that_always_kills_the_gathering_worker_is_given_up_alone() -> None:
    observer = Recorder(parcels(31, gather={13: "kill", 20: "stumble"}))
    Engine([pool(Obey("a")), pool(Gather(size=10), workers=2)], observer).run()
    assert observer.boxed == Counter(f"p{n:03d}" for n in range(31) if n not in (13, 20))
    assert observer.failed_as == {"p013": "WorkerDiedError", "p020": "UnexpectedError"}


def test_old_gatherings_are_flushed(tmp_path: Path) -> None:
    """The last parcel does not come before the others are out, who are too few to come out by themselves."""
    observer = Recorder([replace(item, folder=str(tmp_path)) for item in parcels(6, a={5: "gate"})])

    def open_gate(box: Any) -> None:
        if len(observer.boxed) == 5:
            (tmp_path / "open").touch()

    observer.on_finished = open_gate
    Engine([pool(Obey("a"), deadline=120), pool(Gather(size=100), flush_seconds=1)], observer).run()
    assert observer.boxed == Counter(f"p{number:03d}" for number in range(6))
    assert observer.finished_items[-1].acknowledges == ("p005",)


def test_much_held_is_flushed(tmp_path: Path) -> None:
    """The last parcel does not come before a box is out, for which they are too few and too young."""
    items = parcels(10, body=100_000, a={9: "gate"})
    observer = Recorder([replace(item, folder=str(tmp_path)) for item in items])
    observer.on_finished = lambda box: (tmp_path / "open").touch()
    gather = pool(Gather(size=100), flush_seconds=600, retain_bytes=500_000)
    Engine([pool(Obey("a"), deadline=120), gather], observer).run()
    assert len(observer.finished_items) > 1
    assert len(observer.finished_items[0].acknowledges) >= 5
    assert observer.boxed == Counter(f"p{number:03d}" for number in range(10))


def test_queues_stay_under_their_caps(tmp_path: Path) -> None:
    """A fast fan-out of 1 MB items before a stage that does nothing until its queue is as full as it gets."""
    gated = [replace(item, folder=str(tmp_path), orders={"b": "gate"}) for item in parcels(4)]
    observer = Recorder(gated)

    def open_gate(snapshot: Snapshot) -> None:
        split, a, b = snapshot.pools
        stuck = observer.snapshots[-3:]
        still = len(stuck) == 3 and all(before.pools[:2] == (split, a) for before in stuck)
        if still and a.queued >= 2 and b.queued_bytes >= 3_000_000:
            (tmp_path / "open").touch()

    observer.on_tick = open_gate
    specs = [
        pool(Split(count=30, body=1_000_000), fan_out=True),
        pool(Obey("a"), queue_items=6),
        pool(Obey("b"), queue_items=100, queue_bytes=5_000_000, deadline=120),
    ]
    Engine(specs, observer).run()
    assert len(observer.finished_items) == 120
    _, a, b = observer.snapshots[-1].pools
    assert 2 <= a.peak_queued <= 6
    assert 3_000_000 <= b.peak_queued_bytes <= 5_000_000


def test_an_item_larger_than_the_cap_still_passes() -> None:
    observer = Recorder(parcels(5, body=3_000_000))
    Engine([pool(Obey("a")), pool(Obey("b"), queue_bytes=1_000_000)], observer).run()
    assert len(observer.finished_items) == 5


def test_stop_flushes_and_returns_early() -> None:
    observer = Recorder(parcels(1000, a=dict.fromkeys(range(1000), "sleep 0.05")))
    engine = Engine([pool(Obey("a")), pool(Obey("b")), pool(Gather(size=7))], observer)
    observer.on_finished = lambda box: engine.stop() if len(observer.finished_items) == 3 else None
    engine.run()
    assert 21 <= len(observer.boxed) <= 40
    assert set(observer.boxed.values()) == {1}


def test_what_the_observer_raises_ends_the_run_after_a_flush() -> None:
    observer = Recorder(parcels(1000, a=dict.fromkeys(range(1000), "sleep 0.05")))

    def lose(_: Snapshot) -> None:
        if len(observer.snapshots) == 5:
            raise KeyError("lease")

    observer.on_tick = lose
    with pytest.raises(KeyError, match="lease"):
        Engine([pool(Obey("a")), pool(Gather(size=1000))], observer).run()
    assert len(observer.finished_items) <= 1


def test_inputs_may_come_later() -> None:
    class Slow(Recorder):
        asked = 0

        def next_inputs(self, limit: int) -> list[Parcel] | None:
            self.asked += 1
            return [] if self.asked % 3 else super().next_inputs(1)

    observer = Slow(parcels(4))
    Engine([pool(Obey("a"))], observer).run()
    assert len(observer.finished_items) == 4


def test_no_items_at_all() -> None:
    observer = Recorder([])
    Engine([pool(Obey("a")), pool(Gather())], observer).run()
    assert observer.finished_items == []


def test_pools_that_do_not_fit_are_refused_in_one_line() -> None:
    specs = [PoolSpec(stage=Obey("a"), workers=40, cpus=1), PoolSpec(stage=Obey("b"), workers=1, cpus=0.5)]
    with pytest.raises(
        InfeasibleError, match=r"the pools need 40.5 CPUs .*a 40 × 1 CPU.* has 32 CPUs"
    ) as caught:
        Engine(specs, Recorder([])).check()
    assert "\n" not in str(caught.value)


def test_gpus_that_are_not_there_are_refused() -> None:
    with pytest.raises(InfeasibleError, match=r"1 CPU \+ 3 GPU"):
        Engine([PoolSpec(stage=Obey("a"), workers=1, cpus=1, gpus=3)], Recorder([])).check()


def test_a_snapshot_adds_up() -> None:
    observer = Recorder(parcels(60, a=dict.fromkeys(range(60), "sleep 0.05")))
    Engine([pool(Obey("a")), pool(Obey("b"))], observer).run()
    last = observer.snapshots[-1]
    assert [entry.name for entry in last.pools] == ["a", "b"]
    assert 0 < last.pools[0].done <= 60
    assert last.pools[0].rss_bytes > 10_000_000
    assert last.pools[0].busy_seconds >= 0.05 * last.pools[0].done


def test_workers_get_their_threads_by_their_share() -> None:
    observer = Recorder(parcels(1))
    Engine([PoolSpec(stage=Threads("a"), workers=1, cpus=2.5)], observer).run()
    assert observer.keys == ["33"]


def test_the_recorder_is_an_observer() -> None:
    observer: Observer = Recorder([])
    assert observer.next_inputs(1) is None
