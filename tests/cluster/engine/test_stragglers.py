"""Calls behind one that hangs, and which item a death is charged to."""

from __future__ import annotations

import pytest

from mien.cluster.engine import stragglers
from mien.cluster.engine.messages import Reply, Run
from mien.cluster.engine.worker import Call, Worker, WorkItem
from tests.cluster.engine.scripted import ScriptedRun, error_reply, reply, scripted_run
from tests.cluster.engine.stages import Aggregate, Split


def run_with_hung_call(workers: int = 2) -> tuple[ScriptedRun, Worker, list[Worker]]:
    """Two calls per worker. The first call of the first worker hangs, and `t<workers>` waits behind it."""
    run = scripted_run(workers)
    run.push(*(f"t{number}" for number in range(2 * workers)))
    hung, *others = run.alive
    assert run.running(hung) == ["t0", f"t{workers}"]
    return run, hung, others


def run_with_revoked_call() -> tuple[ScriptedRun, Worker, Worker]:
    """`t2` was revoked from behind the slow `t0`, and is now the only call of the other worker."""
    run, slow, (other,) = run_with_hung_call()
    run.let_pass(slow, 0.6)
    for _ in range(2):
        run.answer(other)
    return run, slow, other


def test_calls_behind_a_hung_call_run_elsewhere_first() -> None:
    run, hung, (other,) = run_with_hung_call()
    run.let_pass(hung, 0.4)
    assert run.running(hung) == ["t0", "t2"]
    run.let_pass(hung, 0.2)
    assert run.running(hung) == ["t0"]
    for _ in range(3):
        run.answer(other)
    assert run.passed == {"t1": 1, "t2": 1, "t3": 1}
    assert not run.is_gone(hung)
    run.let_pass(hung, 0.5)
    assert run.is_gone(hung) and run.running(other) == ["t0"]  # the retry, now that nothing else waits
    assert run.pool.retried == 1


def test_no_call_is_put_behind_a_hung_call() -> None:
    run = scripted_run()
    run.push("hangs", "passes")
    hung, other = run.alive
    run.let_pass(hung, 0.6)
    run.push(*"abc")
    assert run.running(hung) == ["hangs"]
    assert run.running(other) == ["passes", "a"]
    run.answer(hung)  # in time after all
    assert run.running(hung) == ["b", "c"]


@pytest.mark.parametrize(
    "answer", [reply("t2"), error_reply("CorruptMediaError"), error_reply("OutOfMemoryError")]
)
def test_late_reply_of_a_revoked_call_is_ignored(answer: Reply) -> None:
    run, slow, other = run_with_revoked_call()
    assert run.running(other) == ["t2"]
    run.answer(slow)
    assert [call.revoked for call in slow.calls] == [True]  # the worker runs it now
    assert run.pool.calls == 1
    run.answer(slow, answer)
    assert run.passed == {"t0": 1, "t1": 1, "t3": 1} and not run.failures
    run.answer(other)
    assert run.passed["t2"] == 1 and not run.failures
    assert run.pool.calls == run.after.reserved == run.after.reserved_bytes == 0
    replaced = answer.error is not None and answer.error.error_class == "OutOfMemoryError"
    assert slow.dead == replaced and len(run.pool.workers) == 2


def test_death_in_a_revoked_call_is_charged_to_no_item() -> None:
    run, slow, other = run_with_revoked_call()
    run.answer(slow)
    run.push("t4", "t5")
    (behind,) = run.running(slow)  # it takes items behind the revoked call
    run.die(slow)
    assert run.pool.retried == 0 and not run.failures and not run.pool.quarantine
    assert [item.key for item in run.pool.queue] == [behind]
    while other.calls:
        run.answer(other)
    assert run.passed == {f"t{number}": 1 for number in range(6)}


def test_revoked_call_that_runs_has_a_deadline() -> None:
    run, slow, other = run_with_revoked_call()
    run.answer(slow)
    run.let_pass(slow, 0.9)
    assert not run.is_gone(slow)
    run.let_pass(slow, 0.2)
    assert run.is_gone(slow)
    assert run.pool.retried == 0 and run.running(other) == ["t2"]


def test_worker_reclaims_revoked_call_if_not_begun() -> None:
    run, slow, (other,) = run_with_hung_call()
    run.let_pass(slow, 0.6)
    assert [item.key for item in run.pool.queue] == ["t2"]  # the other worker is busy
    run.answer(slow)
    assert run.running(slow) == ["t2"] and not run.pool.queue
    run.answer(slow)
    for _ in range(2):
        run.answer(other)
    assert run.passed == {f"t{number}": 1 for number in range(4)}
    assert run.pool.calls == run.pool.queued_bytes == run.after.reserved == 0


def test_call_is_reclaimed_only_with_room_for_its_result() -> None:
    run = scripted_run(room=4)
    run.push("t0", "t1", "t2", "t3")
    slow, _ = run.alive
    assert run.after.free_items == 0
    run.let_pass(slow, 0.6)
    assert run.after.free_items == 1
    run.after.reserved += 1  # by another call
    run.answer(slow)
    assert [call.revoked for call in slow.calls] == [True]
    assert [item.key for item in run.pool.queue] == ["t2"]


def test_aggregating_stages_are_excluded() -> None:
    run = scripted_run(stage=Aggregate("a"))
    run.push("t0", "t1", "t2", "t3", "t4")
    for worker in run.alive:
        run.let_pass(worker, 0.6)
    assert [run.running(worker) for worker in run.alive] == [["t0", "t2"], ["t1", "t3"]]
    assert not run.backups


def test_slow_fan_out_keeps_its_pulls_and_gets_no_more() -> None:
    run = scripted_run(1, stage=Split("a"))
    run.push("film", "next")
    run.check_deadlines()
    (worker,) = run.alive
    assert run.running(worker) == ["film", "film"]
    run.let_pass(worker, 0.6)
    assert run.running(worker) == ["film", "film"]
    run.answer(worker, reply("film-0"))
    run.check_deadlines()
    assert run.running(worker) == ["film", "film"]
    assert run.passed == {"film-0": 1}


def test_reclaiming_does_nothing_to_other_workers() -> None:
    run = scripted_run(1)
    (worker,) = run.alive
    stragglers.reclaim_revoked_call(run.pool, worker)
    item = WorkItem(key="t", seconds=1.0, nbytes=1, payload=None, index=None, parent="t")
    worker.calls.append(Call(Run(), item))
    stragglers.reclaim_revoked_call(run.pool, worker)
    assert run.pool.calls == 0 and not worker.calls[0].revoked


def test_no_call_is_revoked_without_another_worker() -> None:
    run = scripted_run(1, gpus=0.5)
    run.push("hangs", "waits")
    (worker,) = run.alive
    run.let_pass(worker, 0.6)
    assert run.running(worker) == ["hangs", "waits"]


# Which item a death is charged to


def test_innocent_item_is_cleared_when_its_neighbour_kills() -> None:
    run = scripted_run(1)
    run.push("innocent", "kills", "t0", "t1")
    run.die(run.alive[0])
    assert [item.key for item in run.pool.quarantine] == ["innocent"]
    run.start(run.alive[0])
    assert run.running(run.alive[0]) == ["kills"]  # alone, so that the cause is certain
    run.die(run.alive[0])
    assert [item.key for item in run.pool.quarantine] == ["kills"]
    run.start(run.alive[0])
    assert run.running(run.alive[0]) == ["innocent", "t0"]
    while run.running(run.alive[0]) != ["kills"]:
        run.answer(run.alive[0])
    assert run.passed == {"innocent": 1, "t0": 1, "t1": 1}
    assert run.pool.retried == 1


def test_charge_stays_when_the_neighbour_succeeds() -> None:
    run = scripted_run(1)
    run.push("kills", "innocent", "t0")
    run.die(run.alive[0])
    run.start(run.alive[0])
    run.answer(run.alive[0])
    assert run.passed == {"innocent": 1}
    assert [item.key for item in run.pool.quarantine] == ["kills"]
    assert run.running(run.alive[0]) == ["t0"]


def test_two_neighbours_that_kill_both_fail() -> None:
    run = scripted_run(1)
    run.push("kills", "too", "t0")
    deaths = 0
    while run.pool.queued or run.pool.calls:
        (worker,) = run.alive
        if not worker.started:
            run.start(worker)
        elif run.running(worker)[0] == "t0":
            run.answer(worker)
        else:
            deaths += 1
            run.die(worker)
    assert run.failures == {"kills": 1, "too": 1} and run.passed == {"t0": 1}
    assert deaths == 7  # three each, and the one that was cleared


def test_quarantine_does_not_wait_for_revoked_calls() -> None:
    run, slow, other = run_with_revoked_call()
    run.answer(slow)  # it begins the revoked call
    assert run.running(other) == ["t2"] and slow.calls
    run.die(other)
    (successor,) = [worker for worker in run.alive if not worker.started]
    run.start(successor)
    assert run.running(successor) == ["t2"]
