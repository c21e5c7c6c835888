"""Items that fail, workers that die, and that all other items are unaffected."""

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mien.cluster.engine import Engine, Snapshot, stragglers
from mien.cluster.engine.backends.fork_server import PROCESS_NAME
from mien.ingest.errors import (
    CorruptMediaError,
    DeadlineExceededError,
    MienError,
    ProviderError,
    StorageFullError,
    UnexpectedError,
    WorkerDiedError,
)
from tests.cluster.engine.stages import Aggregate, Obey, Parcel, Recorder, Split, logged, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_backend")]


def keys_except(count: int, *without: int) -> list[str]:
    return [f"p{number:03d}" for number in range(count) if number not in without]


@pytest.mark.parametrize(
    ("order", "error_class", "attempts"),
    [
        ("raise", "CorruptMediaError", 1),
        ("stumble", "UnexpectedError", 1),
        ("exit", "UnexpectedError", 1),
        ("unpicklable", "UnexpectedError", 1),
        ("exhaust", "OutOfMemoryError", 1),
        ("kill", "WorkerDiedError", 3),
        ("die", "WorkerDiedError", 3),
        ("hang", "DeadlineExceededError", 3),
        ("hang-in-c", "DeadlineExceededError", 3),
    ],
)
def test_only_the_bad_item_fails(order: str, error_class: str, attempts: int) -> None:
    observer = Recorder(parcels(14, b={5: order}))
    deadline = 1.5 if order.startswith("hang") else 120  # a slow machine would cost an attempt, too
    bad = pool(Obey("b"), deadline=deadline, memory_mb=200)
    Engine([pool(Obey("a")), bad, pool(Obey("c"))], observer).run()
    assert observer.keys == keys_except(14, 5)
    (stage, error) = observer.failures["p005"]
    assert (stage, error.error_class, error.attempts) == ("b", error_class, attempts)
    assert "\n" not in error.text
    if order == "stumble":
        assert error.text.startswith("ValueError: shapes (3,)")
        assert "obey" in error.traceback_tail


@pytest.mark.parametrize("order", ["kill once", "hang once"])
def test_one_death_loses_no_item(order: str, tmp_path: Path) -> None:
    items = [replace(parcel, folder=str(tmp_path)) for parcel in parcels(14, b={5: order})]
    observer = Recorder(items)
    Engine([pool(Obey("a")), pool(Obey("b"), deadline=1.5)], observer).run()
    assert observer.keys == keys_except(14)
    assert not observer.failures


def test_retries_of_hanging_items_come_last(tmp_path: Path) -> None:
    """The only worker's queue is empty most of the time, because the stage before it is slow. The first
    attempt costs the other items one deadline; the later attempts come after all other items."""
    items = parcels(12, a=dict.fromkeys(range(12), "sleep 0.4"), b={3: "hang", 7: "kill"})
    observer = Recorder([replace(item, folder=str(tmp_path)) for item in items])
    Engine([pool(Obey("a")), pool(Obey("b"), deadline=2)], observer).run()
    assert observer.keys == keys_except(12, 3, 7)
    started = logged(tmp_path, "b")
    last = max(started.index(key) for key in keys_except(12, 3, 7))
    assert last < len(started) - 4
    assert sorted(started[-4:]) == ["p003", "p003", "p007", "p007"]


def test_backup_finishes_the_others_while_one_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The only worker hangs and has requested all CPUs. It continues when all other items are finished, still
    within its deadline. A backup worker has run the items behind it and after it."""
    monkeypatch.setattr(stragglers, "STRAGGLER_SHARE", 0.02)  # soon, with most of the deadline left
    items = parcels(8, b={0: "gate", 4: "kill", 6: "raise"})
    observer = Recorder([replace(item, folder=str(tmp_path)) for item in items])

    def open_gate(_: Snapshot) -> None:
        if observer.keys == keys_except(8, 0, 4, 6):
            (tmp_path / "open").touch()

    observer.on_tick = open_gate
    one = replace(pool(Obey("b"), deadline=200), cpus=31.9)
    Engine([pool(Obey("a")), one], observer, max_attempts=2).run()
    assert observer.keys == keys_except(8, 4, 6)
    assert observer.error_classes == {"p004": "WorkerDiedError", "p006": "CorruptMediaError"}
    assert logged(tmp_path, "b").count("p000") == 1
    assert {snapshot.pools[1].workers for snapshot in observer.snapshots} == {1, 2}


def test_several_bad_items_on_two_workers() -> None:
    observer = Recorder(parcels(40, b={3: "kill", 4: "hang", 20: "kill"}))
    Engine([pool(Obey("a")), pool(Obey("b"), workers=2, deadline=1.5)], observer).run()
    assert observer.keys == keys_except(40, 3, 4, 20)
    assert observer.error_classes == {
        "p003": "WorkerDiedError",
        "p004": "DeadlineExceededError",
        "p020": "WorkerDiedError",
    }


def test_child_processes_of_a_late_worker_are_killed(tmp_path: Path) -> None:
    observer = Recorder([replace(parcels(1)[0], orders={"a": "child"}, folder=str(tmp_path))])
    # Enough time to start the child. The only attempt is killed.
    Engine([pool(Obey("a"), deadline=4)], observer, max_attempts=1).run()
    child = int((tmp_path / "child").read_text())
    for _ in range(600):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail(f"process {child} outlived its worker")


@pytest.mark.parametrize(
    ("setup", "kind"),
    [
        ("provider", ProviderError),
        ("stumble", UnexpectedError),
        ("raise", CorruptMediaError),
        ("hang", DeadlineExceededError),
        ("kill", WorkerDiedError),
    ],
)
def test_failed_setup_ends_the_run_with_one_line(setup: str, kind: type[MienError]) -> None:
    observer = Recorder(parcels(3))
    bad = pool(Obey("b", setup=setup), setup_deadline_seconds=2 if setup == "hang" else 120)
    with pytest.raises(kind, match="stage b cannot start") as caught:
        Engine([pool(Obey("a")), bad], observer).run()
    assert "\n" not in str(caught.value)
    assert not observer.failures


def test_stop_error_flushes_and_is_raised() -> None:
    items = parcels(30, a={12: "full"})
    observer = Recorder(items)
    with pytest.raises(StorageFullError, match="stage a: no space left on the store"):
        Engine([pool(Obey("a")), pool(Aggregate(size=5))], observer).run()
    assert set(observer.boxed.values()) == {1}
    assert len(observer.boxed) in range(5, 15)
    assert not observer.failures


def test_stop_error_of_an_aggregating_stage_is_raised() -> None:
    observer = Recorder(parcels(30, aggregate={12: "full"}))
    with pytest.raises(StorageFullError, match="stage aggregate"):
        Engine([pool(Obey("a")), pool(Aggregate(size=5))], observer).run()
    assert set(observer.boxed.values()) == {1}


def test_many_equal_failures_in_a_row_end_the_run() -> None:
    orders = dict.fromkeys(range(3, 100), "stumble")
    observer = Recorder(parcels(100, a=orders))
    with pytest.raises(UnexpectedError, match="7 videos in a row failed in stage a: ValueError"):
        Engine([pool(Obey("a"))], observer, max_consecutive_failures=7).run()
    assert len(observer.failures) in range(7, 12)


def test_bad_media_in_a_row_does_not_end_the_run() -> None:
    observer = Recorder(parcels(30, a=dict.fromkeys(range(30), "raise")))
    Engine([pool(Obey("a"))], observer, max_consecutive_failures=7).run()
    assert set(observer.error_classes.values()) == {"CorruptMediaError"}
    assert len(observer.failures) == 30


@pytest.mark.parametrize("order", ["hang", "kill", "raise"])
def test_outputs_of_a_failed_fan_out_are_processed(order: str) -> None:
    observer = Recorder(parcels(3, split={1: f"3: {order}"}))
    Engine([pool(Split(count=6), deadline=1.5), pool(Obey("b"))], observer).run()
    first_three = [f"p001-{child}" for child in range(3)]
    complete = [f"{video}-{child}" for video in ("p000", "p002") for child in range(6)]
    assert observer.keys == sorted(first_three + complete)
    assert observer.exhaustions == {"p000": 6, "p002": 6}
    assert observer.failures["p001"][1].yielded == 3


@pytest.mark.parametrize("order", ["hang once", "kill once"])
def test_retried_fan_out_repeats_no_output(order: str, tmp_path: Path) -> None:
    items = [replace(parcel, folder=str(tmp_path)) for parcel in parcels(3, split={1: f"3: {order}"})]
    observer = Recorder(items)
    Engine([pool(Split(count=6), deadline=1.5), pool(Obey("b"))], observer).run()
    assert observer.keys == [f"p00{video}-{child}" for video in range(3) for child in range(6)]
    assert observer.exhaustions == {f"p00{video}": 6 for video in range(3)}


def test_random_kills_lose_and_repeat_no_item(tmp_path: Path) -> None:
    """Worker processes of all stages are killed from outside during the run."""
    items = [Parcel(key=f"p{number:03d}", orders={"b": "sleep 0.05"}) for number in range(40)]
    observer = Recorder(items)
    stages = [
        pool(Split(count=5)),
        pool(Obey("b"), workers=2),
        pool(Aggregate(size=7), workers=2),
    ]
    killed: list[int] = []

    def kill_one(_: object) -> None:
        actors = []
        for process in psutil.Process().children(recursive=True):  # but none of another run
            with suppress(psutil.NoSuchProcess):
                if process.name() == PROCESS_NAME or process.name().startswith("ray::Actor"):
                    actors.append(process.pid)
        if actors and len(killed) < 6:
            killed.append(actors[len(killed) % len(actors)])
            with suppress(ProcessLookupError):
                os.kill(killed[-1], 9)

    observer.on_tick = kill_one
    engine = Engine(stages, observer, max_attempts=10)
    observer.on_finished = lambda box: engine.acknowledge(box.acknowledges)
    engine.run()
    assert not observer.failures
    assert len(killed) >= 3
    expected = {f"p{video:03d}-{child}": 1 for video in range(40) for child in range(5)}
    assert observer.boxed == expected
