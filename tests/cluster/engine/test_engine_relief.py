"""Calls behind one that hangs, and whom a death is charged to: no Ray, no processes, no clock but ours."""

from __future__ import annotations

from typing import Any

import pytest

from mien.cluster.engine import stragglers
from mien.cluster.engine.worker import Call, Kind, Task, Worker
from tests.cluster.engine.pretend import Play, a_play, reply, trouble
from tests.cluster.engine.stages import Gather


def with_one_that_hangs(workers: int = 2) -> tuple[Play, Worker, list[Worker]]:
    """Of two calls each, the first of the first worker does not end; `t<workers>` lies behind it."""
    play = a_play(workers)
    play.push(*(f"t{number}" for number in range(2 * workers)))
    hung, *others = play.alive
    assert play.running(hung) == ["t0", f"t{workers}"]
    return play, hung, others


def with_one_run_elsewhere() -> tuple[Play, Worker, Worker]:
    """`t2`, withdrawn from behind the slow `t0`, is what the other worker has left."""
    play, slow, (other,) = with_one_that_hangs()
    play.let_pass(slow, 0.6)
    for _ in range(2):
        play.answer(other)
    return play, slow, other


def test_what_lies_behind_a_call_that_hangs_passes_before_that_is_given_up() -> None:
    play, hung, (other,) = with_one_that_hangs()
    play.let_pass(hung, 0.4)
    assert play.running(hung) == ["t0", "t2"]
    play.let_pass(hung, 0.2)
    assert play.running(hung) == ["t0"]
    for _ in range(3):
        play.answer(other)
    assert play.passed == {"t1": 1, "t2": 1, "t3": 1}
    assert not play.is_gone(hung)
    play.let_pass(hung, 0.5)
    assert play.is_gone(hung) and play.running(other) == ["t0"]  # again, now that nobody waits for it
    assert play.pool.retried == 1


def test_nothing_new_is_put_behind_a_call_that_hangs() -> None:
    play = a_play()
    play.push("hangs", "passes")
    hung, other = play.alive
    play.let_pass(hung, 0.6)
    play.push(*"abc")
    assert play.running(hung) == ["hangs"]
    assert play.running(other) == ["passes", "a"]
    play.answer(hung)  # in time after all
    assert play.running(hung) == ["b", "c"]


@pytest.mark.parametrize(
    "told", [reply("ok", "t2"), trouble("CorruptMediaError"), trouble("OutOfMemoryError")]
)
def test_a_late_reply_of_a_withdrawn_call_counts_for_nothing(told: list[Any]) -> None:
    play, slow, other = with_one_run_elsewhere()
    assert play.running(other) == ["t2"]
    play.answer(slow)
    assert [call.revoked for call in slow.calls] == [True]  # it is at it
    assert play.pool.calls == 1
    play.answer(slow, told)
    assert play.passed == {"t0": 1, "t1": 1, "t3": 1} and not play.failures
    play.answer(other)
    assert play.passed["t2"] == 1 and not play.failures
    assert play.pool.calls == play.after.promised == play.after.promised_bytes == 0
    shredded = told[4] is not None and told[4][0] == "OutOfMemoryError"
    assert slow.dead == shredded and len(play.pool.workers) == 2


def test_the_death_of_a_withdrawn_call_is_charged_to_nobody() -> None:
    play, slow, other = with_one_run_elsewhere()
    play.answer(slow)
    play.push("t4", "t5")
    (behind,) = play.running(slow)  # it is open to work, behind what it still has
    play.die(slow)
    assert play.pool.retried == 0 and not play.failures and not play.pool.suspects
    assert [task.key for task in play.pool.queue] == [behind]
    while other.calls:
        play.answer(other)
    assert play.passed == {f"t{number}": 1 for number in range(6)}


def test_a_withdrawn_call_that_is_run_all_the_same_has_its_deadline() -> None:
    play, slow, other = with_one_run_elsewhere()
    play.answer(slow)
    play.let_pass(slow, 0.9)
    assert not play.is_gone(slow)
    play.let_pass(slow, 0.2)
    assert play.is_gone(slow)
    assert play.pool.retried == 0 and play.running(other) == ["t2"]


def test_what_nobody_has_begun_with_is_taken_back_by_its_worker() -> None:
    play, slow, (other,) = with_one_that_hangs()
    play.let_pass(slow, 0.6)
    assert [task.key for task in play.pool.queue] == ["t2"]  # the other is busy
    play.answer(slow)
    assert play.running(slow) == ["t2"] and not play.pool.queue
    play.answer(slow)
    for _ in range(2):
        play.answer(other)
    assert play.passed == {f"t{number}": 1 for number in range(4)}
    assert play.pool.calls == play.pool.queued_bytes == play.after.promised == 0


def test_calls_taken_back_have_room_for_their_results() -> None:
    play = a_play(room=4)
    play.push("t0", "t1", "t2", "t3")
    slow, _ = play.alive
    assert play.after.free_items == 0
    play.let_pass(slow, 0.6)
    assert play.after.free_items == 1
    play.after.promised += 1  # by another
    play.answer(slow)
    assert [call.revoked for call in slow.calls] == [True]
    assert [task.key for task in play.pool.queue] == ["t2"]


def test_a_gathering_stage_is_left_alone() -> None:
    play = a_play(stage=Gather("a"))
    play.push("t0", "t1", "t2", "t3", "t4")
    for worker in play.alive:
        play.let_pass(worker, 0.6)
    assert [play.running(worker) for worker in play.alive] == [["t0", "t2"], ["t1", "t3"]]
    assert not play.spares


def test_the_pulls_of_a_fan_out_are_left_alone_and_no_more_are_added() -> None:
    play = a_play(1, fan_out=True)
    play.push("film", "next")
    play.look()
    (worker,) = play.alive
    assert play.running(worker) == ["film", "film"]
    play.let_pass(worker, 0.6)
    assert play.running(worker) == ["film", "film"]
    play.answer(worker, reply("ok", "film-0"))
    play.look()
    assert play.running(worker) == ["film", "film"]
    assert play.passed == {"film-0": 1}


def test_taking_back_asks_nothing_of_an_ordinary_worker() -> None:
    play = a_play(1)
    (worker,) = play.alive
    stragglers.take_back(play.pool, worker)
    task = Task(key="t", seconds=1.0, nbytes=1, payload=None, index=None, parent="t")
    worker.calls.append(Call(Kind.CALL, task))
    stragglers.take_back(play.pool, worker)
    assert play.pool.calls == 0 and not worker.calls[0].revoked


# Whom a death is charged to


def test_an_innocent_whose_reply_went_down_is_acquitted_when_its_neighbour_kills_again() -> None:
    play = a_play(1)
    play.push("innocent", "kills", "t0", "t1")
    play.die(play.alive[0])
    assert [task.key for task in play.pool.suspects] == ["innocent"]
    play.start(play.alive[0])
    assert play.running(play.alive[0]) == ["kills"]  # alone, so that there is no doubt
    play.die(play.alive[0])
    assert [task.key for task in play.pool.suspects] == ["kills"]
    play.start(play.alive[0])
    assert play.running(play.alive[0]) == ["innocent", "t0"]
    while play.running(play.alive[0]) != ["kills"]:
        play.answer(play.alive[0])
    assert play.passed == {"innocent": 1, "t0": 1, "t1": 1}
    assert play.pool.retried == 1


def test_a_death_stays_with_the_one_it_was_charged_to_when_its_neighbour_passes() -> None:
    play = a_play(1)
    play.push("kills", "innocent", "t0")
    play.die(play.alive[0])
    play.start(play.alive[0])
    play.answer(play.alive[0])
    assert play.passed == {"innocent": 1}
    assert [task.key for task in play.pool.suspects] == ["kills"]
    assert play.running(play.alive[0]) == ["t0"]


def test_two_neighbours_that_kill_are_both_given_up() -> None:
    play = a_play(1)
    play.push("kills", "too", "t0")
    deaths = 0
    while play.pool.queued or play.pool.calls:
        (worker,) = play.alive
        if not worker.ready:
            play.start(worker)
        elif play.running(worker)[0] == "t0":
            play.answer(worker)
        else:
            deaths += 1
            play.die(worker)
    assert play.failures == {"kills": 1, "too": 1} and play.passed == {"t0": 1}
    assert deaths == 7  # three each, and one that was forgiven


def test_a_suspect_does_not_wait_for_a_call_that_counts_for_nothing() -> None:
    play, slow, other = with_one_run_elsewhere()
    play.answer(slow)  # and comes to the call that was withdrawn
    assert play.running(other) == ["t2"] and slow.calls
    play.die(other)
    (successor,) = [worker for worker in play.alive if not worker.ready]
    play.start(successor)
    assert play.running(successor) == ["t2"]


def test_nothing_is_withdrawn_for_nobody() -> None:
    play = a_play(1, gpus=0.5)
    play.push("hangs", "waits")
    (worker,) = play.alive
    play.let_pass(worker, 0.6)
    assert play.running(worker) == ["hangs", "waits"]
