"""Random orders of replies, deaths and hangs: each item has one outcome, and all counters add up."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mien.cluster.engine.worker import Worker
from tests.cluster.engine.scripted import DEADLINE_SECONDS, ScriptedRun, error_reply
from tests.cluster.engine.stages import Obey, pool
from tests.hypothesis_examples import examples

STEPS = ("answer", "answer", "answer", "raise", "exhaust", "die", "wait", "wait", "check", "start", "push")


def assert_counters_add_up(run: ScriptedRun, expected_keys: set[str]) -> None:
    """Each item is either finished or in progress, exactly once."""
    tested = run.pool
    in_progress = [key for worker in tested.workers for key in run.running(worker)]
    in_progress += [item.key for item in (*tested.queue, *tested.quarantine)]
    ended = [*run.passed.elements(), *run.failures.elements()]
    assert sorted(in_progress + ended) == sorted(expected_keys)
    counted = [
        call for worker in tested.workers for call in worker.calls if worker.started and not call.revoked
    ]
    assert tested.calls == len(counted) == run.after.reserved
    assert tested.queued_bytes == 10 * tested.queued
    own = [worker for worker in tested.workers if not worker.is_backup]
    assert len(own) == tested.spec.workers and len(tested.workers) <= len(own) + 1
    assert not any(worker.dead for worker in tested.workers)


def step(run: ScriptedRun, what: str, worker: Worker, new_key: str) -> set[str]:
    if what == "push":
        run.push(new_key)
        return {new_key}
    if what == "check":
        run.check_deadlines()
    elif what == "die":
        run.die(worker)
    elif not worker.started:
        run.start(worker)
    elif worker.calls and what in ("answer", "raise", "exhaust"):
        classes = {"raise": "CorruptMediaError", "exhaust": "OutOfMemoryError"}
        run.answer(worker, error_reply(classes[what]) if what in classes else None)
    elif worker.calls and what == "wait":
        run.let_pass(worker, 0.55)
    return set()


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data(), workers=st.integers(1, 3), in_flight=st.integers(1, 3), room=st.integers(1, 8))
def test_each_item_has_one_outcome(data: Any, workers: int, in_flight: int, room: int) -> None:
    spec = pool(Obey("a"), workers=workers, deadline=DEADLINE_SECONDS, in_flight=in_flight)
    run = ScriptedRun(spec, pool(Obey("b"), queue_items=room), max_attempts=2)
    keys = {f"t{number}" for number in range(8)}
    run.push(*sorted(keys))
    for number in range(data.draw(st.integers(0, 40), label="steps")):
        worker = data.draw(st.sampled_from(run.alive), label="worker")
        what = data.draw(st.sampled_from(STEPS), label="step")
        # Repeated deaths during setup end the run, which other tests cover.
        if what == "die" and not worker.started and not worker.is_backup:
            continue
        keys |= step(run, what, worker, f"n{number}")
        assert_counters_add_up(run, keys)
    while not run.pool.quiet:
        for worker in run.alive:
            if not worker.started:
                run.start(worker)
            elif worker.calls:
                run.answer(worker)
    assert_counters_add_up(run, keys)
    assert run.passed.keys() | run.failures.keys() == keys
    run.check_deadlines()
    assert run.after.reserved_bytes == 0
