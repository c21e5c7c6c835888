"""The life cycle of a worker."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest

from mien.cluster.engine.worker import TRANSITIONS, Worker, WorkerState
from tests.cluster.engine.scripted import Clock, ScriptedHandle, reply, scripted_run
from tests.cluster.engine.stages import Obey, pool

S = WorkerState


def a_worker(state: WorkerState) -> Worker:
    nothing: Any = lambda worker: None  # noqa: E731
    return Worker(spec=pool(Obey("a")), handle=ScriptedHandle(), on_reply=nothing, clock=Clock(), state=state)


@pytest.mark.parametrize(("before", "after"), list(product(S, S)))
def test_illegal_transitions_are_refused(before: WorkerState, after: WorkerState) -> None:
    worker = a_worker(before)
    if after in TRANSITIONS[before]:
        worker.transition(after)
        assert worker.state is after
    else:
        with pytest.raises(RuntimeError, match=f"cannot go from {before.value} to {after.value}"):
            worker.transition(after)
        assert worker.state is before


def test_every_state_can_end_and_death_is_final() -> None:
    assert all(S.DEAD in TRANSITIONS[state] for state in S if state is not S.DEAD)
    assert not TRANSITIONS[S.DEAD]


def test_only_setup_leads_out_of_starting() -> None:
    assert [state for state in S if S.STARTING in TRANSITIONS[state]] == []
    run = scripted_run(1)
    (worker,) = run.alive
    assert worker.state is S.READY


def test_kill_is_idempotent() -> None:
    worker = a_worker(S.READY)
    worker.kill()
    worker.kill()
    assert worker.dead


def test_only_idle_workers_that_take_items_can_close() -> None:
    assert [state for state in S if a_worker(state).can_close] == [S.READY, S.LEAVING]
    run = scripted_run(1)
    run.push("t")
    assert not run.alive[0].can_close


def test_quarantined_item_makes_its_worker_exclusive() -> None:
    run = scripted_run(1)
    run.push("kills")
    run.die(run.alive[0])
    run.start(run.alive[0])
    (worker,) = run.alive
    assert run.state(worker) is S.EXCLUSIVE
    run.push("waits")
    assert run.running(worker) == ["kills"]
    run.answer(worker, reply("kills"))
    assert run.state(worker) is S.READY
    assert run.running(worker) == ["waits"]
