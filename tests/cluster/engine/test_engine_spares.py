"""Spares, while all workers of a pool hang: no Ray, no processes, no clock but the one the test sets."""

from __future__ import annotations

from typing import Any

import pytest
from ray.exceptions import ActorUnschedulableError

from tests.cluster.engine.pretend import Play, a_play, reply, trouble


def all_hung(workers: int = 2, **more: Any) -> Play:
    play = a_play(workers, **more)
    play.push(*(f"t{number}" for number in range(2 * workers + 2)))
    for worker in play.alive:
        play.let_pass(worker, 0.6)
    return play


def test_one_spare_and_no_more_runs_what_waits_while_all_hang() -> None:
    play = a_play()
    play.push(*(f"t{number}" for number in range(6)))
    first, second = play.alive
    play.let_pass(first, 0.6)
    assert not play.spares  # the second may end any moment
    play.let_pass(second, 0.6)
    for _ in range(3):
        play.look()
    (spare,) = play.spares
    assert play.pool.snapshot().workers == 3 and play.pool.snapshot().starting == 1
    play.start(spare)
    for _ in range(4):
        play.answer(spare)
    assert play.passed == {f"t{number}": 1 for number in range(2, 6)}
    assert not first.dead and not second.dead
    play.look()
    assert play.spares == [spare]  # the others are not back yet


def test_no_spare_where_nothing_waits() -> None:
    play = a_play()
    play.push("t0", "t1")
    for worker in play.alive:
        play.let_pass(worker, 0.6)
    assert len(play.pool.ever) == 2
    play.push("t2")
    play.look()
    assert len(play.spares) == 1


def test_no_spare_beside_workers_that_merely_start() -> None:
    play = a_play()
    play.push(*(f"t{number}" for number in range(6)))
    for worker in play.alive:
        play.die(worker)
    play.look()
    assert len(play.alive) == 2 and not play.spares


def test_no_spare_on_a_gpu() -> None:
    play = all_hung(gpus=0.5)
    assert play.pool.queue and not play.spares


def test_a_spare_stands_in_for_a_killed_worker_until_that_is_back() -> None:
    play = all_hung()
    (spare,) = play.spares
    play.start(spare)
    hung = play.alive[:2]
    for worker in hung:
        play.let_pass(worker, 0.5)
        assert worker.dead
    own = [worker for worker in play.alive if not worker.spare]
    assert len(own) == 2 and not any(worker.ready for worker in own)
    play.answer(spare)
    assert play.passed == {"t3": 1} and play.running(spare) == ["t2", "t4"]
    play.start(own[0])
    play.look()
    assert play.spares == [spare] and not spare.leaving
    play.start(own[1])
    play.look()
    play.push("t6", "t7", "t8", "t9")
    play.answer(spare)
    assert play.running(spare) == ["t4"]  # nothing new
    play.answer(spare)
    play.look()
    assert spare.dead and len(play.pool.ever) == 5
    assert play.pool.snapshot().workers == 2
    assert play.pool.retried == 2


@pytest.mark.parametrize("ready", [False, True])
def test_a_spare_that_is_not_needed_goes(ready: bool) -> None:
    play = all_hung()
    (spare,) = play.spares
    own = [worker for worker in play.alive if not worker.spare]
    while play.pool.queue or any(worker.calls for worker in own):
        for worker in own:
            if worker.calls:
                play.answer(worker)
    if ready:
        play.start(spare)
    play.look()
    assert spare.dead and play.pool.workers == set(own)
    assert play.passed == {f"t{number}": 1 for number in range(6)}


def test_a_spare_that_its_item_kills_is_followed_by_one_where_it_is_still_needed() -> None:
    play = all_hung()
    (spare,) = play.spares
    play.start(spare)
    play.die(spare)
    assert not play.spares
    play.look()
    assert len(play.spares) == 1 and play.spares != [spare]
    for worker in play.alive[:2]:
        play.answer(worker)
    play.die(play.spares[0])
    for _ in range(3):
        play.look()
    assert not play.spares and len(play.pool.workers) == 2


@pytest.mark.parametrize("how", ["raises", "dies", "has no node any more", "hangs"])
def test_a_spare_that_cannot_start_is_done_without(how: str) -> None:
    """It does not end a run that can go on."""
    play = all_hung()
    (spare,) = play.spares
    play.answer(spare, reply("ok"))
    if how == "raises":
        play.answer(spare, trouble("OutOfMemoryError"))
    elif how == "dies":
        play.die(spare)
    elif how == "has no node any more":
        play.die(spare, ActorUnschedulableError("the node that it was for is gone"))
    else:
        spare.clock -= 1 + play.pool.spec.setup_deadline_seconds
    for _ in range(5):
        play.look()
    assert spare.dead and play.engine._error is None
    assert len(play.pool.ever) == 3 and play.pool.setups_failed == 0
    play.pool.spare_again_at = 0.0
    play.look()
    assert len(play.spares) == 1


def test_a_run_that_stops_starts_no_spare() -> None:
    play = a_play(1)
    play.push("t0", "t1")
    play.engine._stopping = True
    play.let_pass(play.alive[0], 0.6)
    assert len(play.pool.ever) == 1
