"""One bad item, one bad worker: what happens to it, and that nothing happens to the others."""

import os
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from mien.cluster.engine import Engine, Snapshot, stragglers
from mien.cluster.engine.backends.serving import NAME
from mien.ingest.errors import (
    CorruptMediaError,
    DeadlineExceededError,
    MienError,
    ProviderError,
    StorageFullError,
    UnexpectedError,
    WorkerDiedError,
)
from tests.cluster.engine.stages import Gather, Obey, Parcel, Recorder, Split, noted, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_backend")]


def others(count: int, *without: int) -> list[str]:
    return [f"p{number:03d}" for number in range(count) if number not in without]


@pytest.mark.parametrize(
    ("order", "error_class", "attempts"),
    [
        ("raise", "CorruptMediaError", 1),
        ("stumble", "UnexpectedError", 1),
        ("exit", "UnexpectedError", 1),
        ("unpicklable", "UnexpectedError", 1),
        ("eat", "OutOfMemoryError", 1),
        ("kill", "WorkerDiedError", 3),
        ("die", "WorkerDiedError", 3),
        ("hang", "DeadlineExceededError", 3),
        ("hang-in-c", "DeadlineExceededError", 3),
    ],
)
def test_a_bad_item_is_given_up_alone(order: str, error_class: str, attempts: int) -> None:
    observer = Recorder(parcels(14, b={5: order}))
    deadline = 1.5 if order.startswith("hang") else 120  # what is slow today is charged with an attempt, too
    bad = pool(Obey("b"), deadline=deadline, memory_mb=200)
    Engine([pool(Obey("a")), bad, pool(Obey("c"))], observer).run()
    assert observer.keys == others(14, 5)
    (stage, error) = observer.failures["p005"]
    assert (stage, error.error_class, error.attempts) == ("b", error_class, attempts)
    assert "\n" not in error.text
    if order == "stumble":
        assert error.text.startswith("ValueError: shapes (3,)")
        assert "obey" in error.traceback_tail


@pytest.mark.parametrize("order", ["kill once", "hang once"])
def test_a_worker_that_dies_once_costs_nothing(order: str, tmp_path: Path) -> None:
    items = [replace(parcel, folder=str(tmp_path)) for parcel in parcels(14, b={5: order})]
    observer = Recorder(items)
    Engine([pool(Obey("a")), pool(Obey("b"), deadline=1.5)], observer).run()
    assert observer.keys == others(14)
    assert not observer.failures


def test_the_others_do_not_wait_for_the_retries_of_one_that_hangs(tmp_path: Path) -> None:
    """With a single worker, whose queue is empty most of the time since the stage before it is slow: the
    first attempt costs them a deadline, the later ones come when all of them are through."""
    items = parcels(12, a=dict.fromkeys(range(12), "sleep 0.4"), b={3: "hang", 7: "kill"})
    observer = Recorder([replace(item, folder=str(tmp_path)) for item in items])
    Engine([pool(Obey("a")), pool(Obey("b"), deadline=2)], observer).run()
    assert observer.keys == others(12, 3, 7)
    begun = noted(tmp_path, "b")
    last = max(begun.index(key) for key in others(12, 3, 7))
    assert last < len(begun) - 4
    assert sorted(begun[-4:]) == ["p003", "p003", "p007", "p007"]


def test_the_others_end_before_one_that_hangs_is_given_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the only worker, which has all the CPUs that there are. It may go on when all else is through, and
    that is in time: what lay behind it, and what came after, was run by a spare."""
    monkeypatch.setattr(stragglers, "RELIEF_SHARE", 0.02)  # soon, and nearly all of the deadline is left
    items = parcels(8, b={0: "gate", 4: "kill", 6: "raise"})
    observer = Recorder([replace(item, folder=str(tmp_path)) for item in items])

    def open_gate(_: Snapshot) -> None:
        if observer.keys == others(8, 0, 4, 6):
            (tmp_path / "open").touch()

    observer.on_tick = open_gate
    one = replace(pool(Obey("b"), deadline=200), cpus=31.9)
    Engine([pool(Obey("a")), one], observer, max_attempts=2).run()
    assert observer.keys == others(8, 4, 6)
    assert observer.failed_as == {"p004": "WorkerDiedError", "p006": "CorruptMediaError"}
    assert noted(tmp_path, "b").count("p000") == 1
    assert {snapshot.pools[1].workers for snapshot in observer.snapshots} == {1, 2}


def test_two_poisons_and_their_neighbours_on_two_workers() -> None:
    observer = Recorder(parcels(40, b={3: "kill", 4: "hang", 20: "kill"}))
    Engine([pool(Obey("a")), pool(Obey("b"), workers=2, deadline=1.5)], observer).run()
    assert observer.keys == others(40, 3, 4, 20)
    assert observer.failed_as == {
        "p003": "WorkerDiedError",
        "p004": "DeadlineExceededError",
        "p020": "WorkerDiedError",
    }


def test_a_late_worker_s_children_die_with_it(tmp_path: Path) -> None:
    observer = Recorder([replace(parcels(1)[0], orders={"a": "child"}, folder=str(tmp_path))])
    # Time enough to bear it: it is killed in the one attempt that it has.
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
def test_a_stage_that_cannot_start_ends_the_run_in_one_line(setup: str, kind: type[MienError]) -> None:
    observer = Recorder(parcels(3))
    bad = pool(Obey("b", setup=setup), setup_deadline_seconds=2 if setup == "hang" else 120)
    with pytest.raises(kind, match="stage b cannot start") as caught:
        Engine([pool(Obey("a")), bad], observer).run()
    assert "\n" not in str(caught.value)
    assert not observer.failures


def test_a_stop_error_flushes_what_was_gathered_and_is_raised() -> None:
    items = parcels(30, a={12: "full"})
    observer = Recorder(items)
    with pytest.raises(StorageFullError, match="stage a: no space left on the store"):
        Engine([pool(Obey("a")), pool(Gather(size=5))], observer).run()
    assert set(observer.boxed.values()) == {1}
    assert len(observer.boxed) in range(5, 15)
    assert not observer.failures


def test_a_stop_error_of_the_gathering_stage_itself_ends_the_run() -> None:
    observer = Recorder(parcels(30, gather={12: "full"}))
    with pytest.raises(StorageFullError, match="stage gather"):
        Engine([pool(Obey("a")), pool(Gather(size=5))], observer).run()
    assert set(observer.boxed.values()) == {1}


def test_many_videos_in_a_row_with_one_class_end_the_run() -> None:
    orders = dict.fromkeys(range(3, 100), "stumble")
    observer = Recorder(parcels(100, a=orders))
    with pytest.raises(UnexpectedError, match="7 videos in a row failed in stage a: ValueError"):
        Engine([pool(Obey("a"))], observer, max_consecutive_failures=7).run()
    assert len(observer.failures) in range(7, 12)


def test_bad_media_in_a_row_is_only_bad_media() -> None:
    observer = Recorder(parcels(30, a=dict.fromkeys(range(30), "raise")))
    Engine([pool(Obey("a"))], observer, max_consecutive_failures=7).run()
    assert set(observer.failed_as.values()) == {"CorruptMediaError"}
    assert len(observer.failures) == 30


@pytest.mark.parametrize("order", ["hang", "kill", "raise"])
def test_a_fan_out_that_ends_badly_keeps_what_it_had_yielded(order: str) -> None:
    observer = Recorder(parcels(3, split={1: f"3: {order}"}))
    Engine([pool(Split(count=6), fan_out=True, deadline=1.5), pool(Obey("b"))], observer).run()
    first_three = [f"p001-{child}" for child in range(3)]
    whole = [f"{video}-{child}" for video in ("p000", "p002") for child in range(6)]
    assert observer.keys == sorted(first_three + whole)
    assert observer.exhaustions == {"p000": 6, "p002": 6}
    assert observer.failures["p001"][1].yielded == 3


@pytest.mark.parametrize("order", ["hang once", "kill once"])
def test_a_fan_out_that_dies_once_repeats_nothing(order: str, tmp_path: Path) -> None:
    items = [replace(parcel, folder=str(tmp_path)) for parcel in parcels(3, split={1: f"3: {order}"})]
    observer = Recorder(items)
    Engine([pool(Split(count=6), fan_out=True, deadline=1.5), pool(Obey("b"))], observer).run()
    assert observer.keys == [f"p00{video}-{child}" for video in range(3) for child in range(6)]
    assert observer.exhaustions == {f"p00{video}": 6 for video in range(3)}


def test_workers_killed_at_random_lose_and_repeat_nothing(tmp_path: Path) -> None:
    """Every stage loses workers while items flow: the processes are killed from outside."""
    items = [Parcel(key=f"p{number:03d}", orders={"b": "sleep 0.05"}) for number in range(40)]
    observer = Recorder(items)
    stages = [
        pool(Split(count=5), fan_out=True),
        pool(Obey("b"), workers=2),
        pool(Gather(size=7), workers=2),
    ]
    killed: list[int] = []

    def kill_one(_: object) -> None:
        actors = []
        for process in psutil.Process().children(recursive=True):  # and none of another run
            with suppress(psutil.NoSuchProcess):
                if process.name() == NAME or process.name().startswith("ray::Actor"):
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
