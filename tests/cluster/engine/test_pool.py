"""Which item a pool runs next, and in which worker. Also the conversion of errors."""

import math
import time
from collections import Counter
from typing import Any

import pytest

from mien.cluster.engine.errors import classify, error_from_name
from mien.cluster.engine.messages import Run
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Call, Worker, WorkerState, WorkItem
from mien.ingest.errors import CorruptMediaError, OutOfMemoryError, Policy, StorageError, UnexpectedError
from tests.cluster.engine.stages import Obey, pool

NO_HANDLE: Any = None
"""These workers are sent nothing."""


def make_pool(workers: int = 2, **more: Any) -> tuple[Pool, list[Worker]]:
    tested = Pool(pool(Obey("a"), workers=workers, **more), pickled_stage=b"", before=None, last=True)
    return tested, [add_worker(tested) for _ in range(workers)]


def add_worker(tested: Pool) -> Worker:
    worker = Worker(
        spec=tested.spec,
        handle=NO_HANDLE,
        on_reply=lambda _: None,
        clock=time.monotonic,
        state=WorkerState.READY,
    )
    tested.workers.add(worker)
    tested.place(worker)
    return worker


def item(key: str, parent: str = "v") -> WorkItem:
    return WorkItem(key=key, seconds=1.0, nbytes=10, payload=None, index=None, parent=parent)


def run(tested: Pool) -> tuple[WorkItem, Worker] | None:
    chosen = tested.choose()
    if chosen is not None:
        chosen[1].calls.append(Call(Run(), chosen[0]))
        tested.place(chosen[1])
    return chosen


def end(tested: Pool, worker: Worker) -> None:
    worker.calls.popleft()
    worker.end_exclusive()
    tested.place(worker)


def test_idle_workers_first_and_at_most_two_calls_each() -> None:
    tested, workers = make_pool()
    for number in range(6):
        tested.push(item(f"t{number}"))
    taken = [run(tested) for _ in range(6)]
    assert Counter(chosen[1] for chosen in taken if chosen) == {workers[0]: 2, workers[1]: 2}
    assert taken[0] and taken[1] and taken[0][1] is not taken[1][1]
    assert taken[4] is None
    assert tested.queued == 2 and tested.queued_bytes == 20


def test_items_of_one_video_go_to_the_same_worker() -> None:
    tested, _ = make_pool()
    for number in range(6):
        tested.push(item(f"x{number}", "x"))
        tested.push(item(f"y{number}", "y"))
    workers_of: dict[str, set[Worker]] = {"x": set(), "y": set()}
    running: list[Worker] = []
    for _ in range(12):
        if len(running) == 4:
            end(tested, running.pop(0))
        chosen = run(tested)
        assert chosen is not None
        workers_of[chosen[0].parent].add(chosen[1])
        running.append(chosen[1])
    assert len(workers_of["x"]) == len(workers_of["y"]) == 1


def test_locality_idles_no_worker_and_starves_no_item() -> None:
    tested, workers = make_pool(workers=1)
    tested.push(item("first", "x"))
    assert run(tested)
    tested.push(item("stranger", "z"))
    order = []
    for number in range(20):
        tested.push(item(f"x{number}", "x"))
        chosen = run(tested)
        assert chosen is not None
        order.append(chosen[0].key)
        end(tested, workers[0])
    assert order.index("stranger") == 8
    tested, workers = make_pool()
    for number in range(2):
        tested.push(item(f"x{number}", "x"))
    assert {chosen[1] for chosen in (run(tested), run(tested)) if chosen} == set(workers)


def test_quarantined_item_runs_last_and_alone() -> None:
    tested, workers = make_pool(workers=1)
    tested.push_quarantined(item("poison"))
    tested.push(item("good"))
    first = run(tested)
    assert first is not None and first[0].key == "good"
    assert run(tested) is None  # not behind another item
    end(tested, workers[0])
    second = run(tested)
    assert second is not None and second[0].key == "poison"
    tested.push(item("next"))
    assert run(tested) is None  # and no item behind it
    end(tested, workers[0])
    assert run(tested) is not None


def test_quarantined_item_is_not_starved() -> None:
    tested, workers = make_pool(workers=1)
    tested.push_quarantined(item("poison"))
    tested.push(item("good"))
    tested.push(item("better"))
    run(tested)
    assert tested.quarantine[0].run_alone_by < math.inf
    tested.quarantine[0].run_alone_by = 0.0
    assert run(tested) is None
    end(tested, workers[0])
    chosen = run(tested)
    assert chosen is not None and chosen[0].key == "poison"


def test_requeued_item_waits_for_an_idle_worker() -> None:
    tested, workers = make_pool(workers=1)
    tested.push(item("good"))
    run(tested)
    requeued = item("requeued")
    requeued.requeued = True
    tested.push(requeued, front=True)
    assert run(tested) is None
    end(tested, workers[0])
    chosen = run(tested)
    assert chosen is not None and chosen[0] is requeued


def test_results_reserve_room_in_advance() -> None:
    before, _ = make_pool()
    after = Pool(pool(Obey("b"), queue_items=8, queue_bytes=100), pickled_stage=b"", before=before, last=True)
    before.saw_output(30)
    assert [before.reserve_output() for _ in range(4)] == [30, 30, 30, None]
    assert (after.reserved, after.reserved_bytes) == (3, 90)


def test_out_of_memory_is_recognised_in_all_wordings() -> None:
    wrapped = CorruptMediaError("cannot decode")
    wrapped.__cause__ = MemoryError()
    for error in (
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
        RuntimeError("[ONNXRuntimeError] : 6 : std::bad_alloc"),
        RuntimeError("Failed to allocate memory for requested buffer of size 1073741824"),
        wrapped,
    ):
        assert classify(error).error_class == "OutOfMemoryError"
    assert classify(CorruptMediaError("out of memory is the title")).error_class == "CorruptMediaError"


def test_errors_are_restored_from_their_names() -> None:
    info = classify(StorageError("the bucket\nrefuses"))
    assert (info.policy, info.text) == (Policy.RETRY, "the bucket refuses")
    assert type(error_from_name(info.error_class, info.text)) is StorageError
    assert type(error_from_name("OutOfMemoryError", "x")) is OutOfMemoryError
    assert type(error_from_name("Policy", "x")) is UnexpectedError


def two_pools(**more: Any) -> tuple[Pool, Pool, list[Worker]]:
    """Only the second one has a worker."""
    first = Pool(pool(Obey("a")), pickled_stage=b"", before=None, last=False)
    second = Pool(pool(Obey("b"), **more), pickled_stage=b"", before=first, last=True)
    return first, second, [add_worker(second)]


def test_quarantine_waits_for_items_on_their_way() -> None:
    first, second, workers = two_pools()
    second.push_quarantined(item("poison"))
    first.push(item("good"))
    assert run(second) is None
    first.queue.clear()
    reserved_bytes = first.reserve_output()
    assert reserved_bytes is not None
    assert run(second) is None
    second.push(item("good"))
    first.release_output(reserved_bytes)
    chosen = run(second)
    assert chosen is not None and chosen[0].key == "good"
    end(second, workers[0])
    chosen = run(second)
    assert chosen is not None and chosen[0].key == "poison"


@pytest.mark.parametrize("more", [{"queue_items": 2}, {"queue_bytes": 20}])
def test_quarantined_items_run_if_they_fill_the_queue(more: dict[str, int]) -> None:
    first, second, _ = two_pools(**more)
    first.push(item("good"))
    first.saw_output(5)
    for name in ("poison", "venom"):
        assert run(second) is None
        second.push_quarantined(item(name))
    chosen = run(second)
    assert chosen is not None and chosen[0].key == "poison"


def test_quarantine_of_a_stopping_run_does_not_wait() -> None:
    first, second, _ = two_pools()
    first.push(item("good"))
    second.push_quarantined(item("poison"))
    assert second.choose() is None
    assert second.choose(no_more_input=True) is not None


def test_two_quarantined_items_do_not_run_in_a_row() -> None:
    tested, workers = make_pool(workers=1)
    for name in ("poison", "venom"):
        tested.push_quarantined(item(name))
        tested.quarantine[-1].run_alone_by = 0.0
    tested.push(item("good"))
    order = []
    for _ in range(3):
        chosen = run(tested)
        assert chosen is not None
        order.append(chosen[0].key)
        end(tested, workers[0])
    assert order == ["poison", "good", "venom"]


def test_late_items_are_retried_after_those_that_died() -> None:
    tested, workers = make_pool(workers=1)
    for name in ("late", "dead", "later", "deader"):
        quarantined = item(name)
        quarantined.was_late = name.startswith("late")
        tested.push_quarantined(quarantined)
    order = []
    for _ in range(4):
        chosen = run(tested)
        assert chosen is not None
        order.append(chosen[0].key)
        end(tested, workers[0])
    assert order == ["dead", "deader", "late", "later"]


def test_death_is_retried_soon_despite_a_long_deadline() -> None:
    tested, _ = make_pool(workers=1, deadline=6 * 3600.0)
    waits = {}
    for name in ("dead", "late"):
        quarantined = item(name)
        quarantined.was_late = name == "late"
        before = time.monotonic()
        tested.push_quarantined(quarantined)
        waits[name] = quarantined.run_alone_by - before
    assert waits["dead"] < 3600 < 5 * 24 * 3600 <= waits["late"]


def test_quarantine_waits_for_running_items() -> None:
    tested, _ = make_pool(workers=2)
    tested.push(item("good"))
    chosen = run(tested)
    assert chosen is not None
    tested.push_quarantined(item("poison"))
    assert run(tested) is None
    end(tested, chosen[1])
    assert run(tested) is not None
    tested.push_quarantined(item("venom"))
    chosen = run(tested)  # next to another quarantined item
    assert chosen is not None and chosen[0].key == "venom"


def test_error_text_that_utf8_cannot_encode_is_escaped() -> None:
    info = classify(ValueError("cannot open film\udcff.mp4"))
    assert info.text == r"ValueError: cannot open film\udcff.mp4"
    info.traceback_tail.encode()
