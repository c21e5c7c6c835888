"""The choice of what to run next, and where: no Ray, no processes."""

import math
import time
from collections import Counter
from typing import Any

import pytest

from mien.cluster.engine.errors import classify, error_named
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Call, Kind, Task, Worker
from mien.ingest.errors import CorruptMediaError, OutOfMemoryError, Policy, StorageError, UnexpectedError
from tests.cluster.engine.stages import Obey, pool

NOBODY: Any = None
"""Behind a worker that is asked nothing."""


def a_pool(workers: int = 2, **more: Any) -> tuple[Pool, list[Worker]]:
    made = Pool(pool(Obey("a"), workers=workers, **more), pickled_stage=b"", before=None, last=True)
    ready = [Worker(spec=made.spec, handle=NOBODY, inbox=lambda *_: None, ready=True) for _ in range(workers)]
    for worker in ready:
        made.workers.add(worker)
        made.place(worker)
    return made, ready


def task(key: str, parent: str = "v") -> Task:
    return Task(key=key, seconds=1.0, nbytes=10, payload=None, index=None, parent=parent)


def run(made: Pool) -> tuple[Task, Worker] | None:
    chosen = made.choose()
    if chosen is not None:
        chosen[1].calls.append(Call(Kind.CALL, chosen[0]))
        made.place(chosen[1])
    return chosen


def end(made: Pool, worker: Worker) -> None:
    worker.calls.popleft()
    worker.alone = worker.alone and bool(worker.calls)
    made.place(worker)


def test_idle_workers_come_first_and_two_calls_are_the_most() -> None:
    made, workers = a_pool()
    for number in range(6):
        made.push(task(f"t{number}"))
    taken = [run(made) for _ in range(6)]
    assert Counter(chosen[1] for chosen in taken if chosen) == {workers[0]: 2, workers[1]: 2}
    assert taken[0] and taken[1] and taken[0][1] is not taken[1][1]
    assert taken[4] is None
    assert made.queued == 2 and made.queued_bytes == 20


def test_siblings_go_to_the_worker_that_had_the_last_of_them() -> None:
    made, _ = a_pool()
    for number in range(6):
        made.push(task(f"x{number}", "x"))
        made.push(task(f"y{number}", "y"))
    homes: dict[str, set[Worker]] = {"x": set(), "y": set()}
    running: list[Worker] = []
    for _ in range(12):
        if len(running) == 4:
            end(made, running.pop(0))
        chosen = run(made)
        assert chosen is not None
        homes[chosen[0].parent].add(chosen[1])
        running.append(chosen[1])
    assert len(homes["x"]) == len(homes["y"]) == 1


def test_nearness_idles_nobody_and_passes_nobody_over_for_ever() -> None:
    made, workers = a_pool(workers=1)
    made.push(task("first", "x"))
    assert run(made)
    made.push(task("stranger", "z"))
    order = []
    for number in range(20):
        made.push(task(f"x{number}", "x"))
        chosen = run(made)
        assert chosen is not None
        order.append(chosen[0].key)
        end(made, workers[0])
    assert order.index("stranger") == 8
    made, workers = a_pool()
    for number in range(2):
        made.push(task(f"x{number}", "x"))
    assert {chosen[1] for chosen in (run(made), run(made)) if chosen} == set(workers)


def test_a_suspect_waits_for_an_empty_queue_and_runs_alone() -> None:
    made, workers = a_pool(workers=1)
    made.push_suspect(task("poison"))
    made.push(task("good"))
    first = run(made)
    assert first is not None and first[0].key == "good"
    assert run(made) is None  # not behind another
    end(made, workers[0])
    second = run(made)
    assert second is not None and second[0].key == "poison"
    made.push(task("next"))
    assert run(made) is None  # nor another behind it
    end(made, workers[0])
    assert run(made) is not None


def test_a_suspect_is_not_put_off_for_ever() -> None:
    made, workers = a_pool(workers=1)
    made.push_suspect(task("poison"))
    made.push(task("good"))
    made.push(task("better"))
    run(made)
    assert made.suspects[0].run_alone_by < math.inf
    made.suspects[0].run_alone_by = 0.0
    assert run(made) is None
    end(made, workers[0])
    chosen = run(made)
    assert chosen is not None and chosen[0].key == "poison"


def test_a_hindered_task_waits_for_an_idle_worker() -> None:
    made, workers = a_pool(workers=1)
    made.push(task("good"))
    run(made)
    victim = task("victim")
    victim.requeued = True
    made.push(victim, front=True)
    assert run(made) is None
    end(made, workers[0])
    chosen = run(made)
    assert chosen is not None and chosen[0] is victim


def test_a_result_has_room_before_it_is_asked_for() -> None:
    before, _ = a_pool()
    after = Pool(pool(Obey("b"), queue_items=8, queue_bytes=100), pickled_stage=b"", before=before, last=True)
    before.saw_output(30)
    assert [before.promise() for _ in range(4)] == [30, 30, 30, None]
    assert (after.promised, after.promised_bytes) == (3, 90)


def test_memory_is_recognised_however_it_is_worded() -> None:
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
    assert classify(CorruptMediaError("out of memory said the title")).error_class == "CorruptMediaError"


def test_errors_survive_the_way_through_their_names() -> None:
    info = classify(StorageError("the bucket\nsays no"))
    assert (info.policy, info.text) == (Policy.RETRY, "the bucket says no")
    assert type(error_named(info.error_class, info.text)) is StorageError
    assert type(error_named("OutOfMemoryError", "x")) is OutOfMemoryError
    assert type(error_named("Policy", "x")) is UnexpectedError


def two_pools(**more: Any) -> tuple[Pool, Pool, list[Worker]]:
    """The second with a worker."""
    first = Pool(pool(Obey("a")), pickled_stage=b"", before=None, last=False)
    second = Pool(pool(Obey("b"), **more), pickled_stage=b"", before=first, last=True)
    worker = Worker(spec=second.spec, handle=NOBODY, inbox=lambda *_: None, ready=True)
    second.place(worker)
    return first, second, [worker]


def test_a_suspect_waits_for_what_is_on_its_way_though_the_queue_is_empty() -> None:
    first, second, workers = two_pools()
    second.push_suspect(task("poison"))
    first.push(task("good"))
    assert run(second) is None
    first.queue.clear()
    promised = first.promise()
    assert promised is not None
    assert run(second) is None
    second.push(task("good"))
    first._redeem(promised)
    chosen = run(second)
    assert chosen is not None and chosen[0].key == "good"
    end(second, workers[0])
    chosen = run(second)
    assert chosen is not None and chosen[0].key == "poison"


@pytest.mark.parametrize("more", [{"queue_items": 2}, {"queue_bytes": 20}])
def test_suspects_that_leave_no_room_for_others_run(more: dict[str, int]) -> None:
    first, second, _ = two_pools(**more)
    first.push(task("good"))
    first.saw_output(5)
    for name in ("poison", "venom"):
        assert run(second) is None
        second.push_suspect(task(name))
    chosen = run(second)
    assert chosen is not None and chosen[0].key == "poison"


def test_a_suspect_does_not_wait_for_what_a_stopped_run_leaves_undone() -> None:
    first, second, _ = two_pools()
    first.push(task("good"))
    second.push_suspect(task("poison"))
    assert second.choose() is None
    assert second.choose(hurry=True) is not None


def test_suspects_are_not_let_before_the_others_one_after_the_other() -> None:
    made, workers = a_pool(workers=1)
    for name in ("poison", "venom"):
        made.push_suspect(task(name))
        made.suspects[-1].run_alone_by = 0.0
    made.push(task("good"))
    order = []
    for _ in range(3):
        chosen = run(made)
        assert chosen is not None
        order.append(chosen[0].key)
        end(made, workers[0])
    assert order == ["poison", "good", "venom"]


def test_suspects_that_were_late_come_after_those_that_died() -> None:
    made, workers = a_pool(workers=1)
    for name in ("late", "dead", "later", "deader"):
        suspect = task(name)
        suspect.was_late = name.startswith("late")
        made.push_suspect(suspect)
    order = []
    for _ in range(4):
        chosen = run(made)
        assert chosen is not None
        order.append(chosen[0].key)
        end(made, workers[0])
    assert order == ["dead", "deader", "late", "later"]


def test_behind_a_deadline_of_hours_a_death_does_not_wait_for_days() -> None:
    made, _ = a_pool(workers=1, deadline=6 * 3600.0)
    waits = {}
    for name in ("dead", "late"):
        suspect = task(name)
        suspect.was_late = name == "late"
        before = time.monotonic()
        made.push_suspect(suspect)
        waits[name] = suspect.run_alone_by - before
    assert waits["dead"] < 3600 < 5 * 24 * 3600 <= waits["late"]


def test_a_suspect_waits_for_those_that_run_as_they_may_come_back() -> None:
    made, _ = a_pool(workers=2)
    made.push(task("good"))
    chosen = run(made)
    assert chosen is not None
    made.push_suspect(task("poison"))
    assert run(made) is None
    end(made, chosen[1])
    assert run(made) is not None
    made.push_suspect(task("venom"))
    chosen = run(made)  # beside another suspect
    assert chosen is not None and chosen[0].key == "venom"
