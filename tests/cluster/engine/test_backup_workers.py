"""Backup workers, which run items while all other workers of a pool hang."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from mien.cluster.engine.worker import CLOSE_SECONDS, WorkerState
from tests.cluster.engine.scripted import NoNodeError, ScriptedRun, error_reply, reply, scripted_run
from tests.cluster.engine.stages import Closing


def run_with_all_hung(workers: int = 2, **more: Any) -> ScriptedRun:
    run = scripted_run(workers, **more)
    run.push(*(f"t{number}" for number in range(2 * workers + 2)))
    for worker in run.alive:
        run.let_pass(worker, 0.6)
    return run


def finish_all(run: ScriptedRun) -> None:
    """Answers all calls of the pool's own workers."""
    own = [worker for worker in run.alive if not worker.is_backup]
    while run.pool.queue or any(worker.calls for worker in own):
        for worker in own:
            if worker.calls:
                run.answer(worker)


def test_one_backup_runs_waiting_items_while_all_hang() -> None:
    run = scripted_run()
    run.push(*(f"t{number}" for number in range(6)))
    first, second = run.alive
    run.let_pass(first, 0.6)
    assert not run.backups  # the second may end at any moment
    run.let_pass(second, 0.6)
    for _ in range(3):
        run.check_deadlines()
    (backup,) = run.backups
    assert run.pool.snapshot().workers == 3 and run.pool.snapshot().starting == 1
    run.start(backup)
    for _ in range(4):
        run.answer(backup)
    assert run.passed == {f"t{number}": 1 for number in range(2, 6)}
    assert not first.dead and not second.dead
    run.check_deadlines()
    assert run.backups == [backup]  # the others still hang


def test_no_backup_when_nothing_waits() -> None:
    run = scripted_run()
    run.push("t0", "t1")
    for worker in run.alive:
        run.let_pass(worker, 0.6)
    assert len(run.all_workers) == 2
    run.push("t2")
    run.check_deadlines()
    assert len(run.backups) == 1


def test_no_backup_while_workers_start() -> None:
    run = scripted_run()
    run.push(*(f"t{number}" for number in range(6)))
    for worker in run.alive:
        run.die(worker)
    run.check_deadlines()
    assert len(run.alive) == 2 and not run.backups


def test_no_backup_on_a_gpu() -> None:
    run = run_with_all_hung(gpus=0.5)
    assert run.pool.queue and not run.backups


def test_backup_stays_until_killed_workers_are_back() -> None:
    run = run_with_all_hung()
    (backup,) = run.backups
    run.start(backup)
    hung = run.alive[:2]
    for worker in hung:
        run.let_pass(worker, 0.5)
        assert worker.dead
    own = [worker for worker in run.alive if not worker.is_backup]
    assert len(own) == 2 and not any(worker.started for worker in own)
    run.answer(backup)
    assert run.passed == {"t3": 1} and run.running(backup) == ["t2", "t4"]
    run.start(own[0])
    run.check_deadlines()
    assert run.backups == [backup] and run.state(backup) is WorkerState.READY
    run.start(own[1])
    run.check_deadlines()
    run.push("t6", "t7", "t8", "t9")
    run.answer(backup)
    assert run.state(backup) is WorkerState.LEAVING
    assert run.running(backup) == ["t4"]  # and no new item
    run.answer(backup)
    run.check_deadlines()
    assert backup.dead and len(run.all_workers) == 5
    assert run.pool.snapshot().workers == 2
    assert run.pool.retried == 2


@pytest.mark.parametrize("started", [False, True])
def test_unneeded_backup_ends(started: bool) -> None:
    run = run_with_all_hung()
    (backup,) = run.backups
    finish_all(run)
    if started:
        run.start(backup)
    run.check_deadlines()
    assert backup.dead and run.pool.workers == set(run.alive)
    assert run.passed == {f"t{number}": 1 for number in range(6)}


@pytest.mark.parametrize("answers", [False, True])
def test_unneeded_backup_closes_its_stage_first(answers: bool) -> None:
    run = run_with_all_hung(stage=Closing("a", Path("unused")))
    (backup,) = run.backups
    run.start(backup)
    while backup.calls:
        run.answer(backup)
    finish_all(run)
    run.check_deadlines()
    assert run.state(backup) is WorkerState.CLOSING
    assert backup not in run.pool.workers and run.pool.calls == 0
    if answers:
        run.answer(backup)
    else:
        run.clock.now += CLOSE_SECONDS + 0.1
        run.check_deadlines()
    assert backup.dead and not run.pool.closing


def test_dead_backup_is_replaced_only_if_still_needed() -> None:
    run = run_with_all_hung()
    (backup,) = run.backups
    run.start(backup)
    run.die(backup)
    run.check_deadlines()
    assert len(run.backups) == 1 and run.backups != [backup]
    for worker in run.alive[:2]:
        run.answer(worker)
    run.die(run.backups[0])
    for _ in range(3):
        run.check_deadlines()
    assert not run.backups and len(run.pool.workers) == 2


@pytest.mark.parametrize("how", ["raises", "dies", "has no node", "hangs"])
def test_run_continues_without_a_backup_that_cannot_start(how: str) -> None:
    run = run_with_all_hung()
    (backup,) = run.backups
    run.answer(backup, reply())
    if how == "raises":
        run.answer(backup, error_reply("OutOfMemoryError"))
    elif how == "dies":
        run.die(backup)
    elif how == "has no node":
        run.die(backup, NoNodeError())
    else:
        backup.oldest_call_since -= 1 + run.pool.spec.setup_deadline_seconds
    for _ in range(5):
        run.check_deadlines()
    assert backup.dead
    assert len(run.all_workers) == 3 and run.pool.failed_setups == 0
    run.pool.next_backup_at = 0.0
    run.check_deadlines()
    assert len(run.backups) == 1


def test_stopping_run_starts_no_backup() -> None:
    run = scripted_run(1)
    run.push("t0", "t1")
    run.engine.stop()
    run.let_pass(run.alive[0], 0.6)
    assert len(run.all_workers) == 1
