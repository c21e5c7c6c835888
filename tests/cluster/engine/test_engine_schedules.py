"""Whatever replies, dies and hangs, in whatever order: one outcome for each item, and books that balance."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from mien.cluster.engine.worker import Worker
from tests.cluster.engine.pretend import DEADLINE_SECONDS, Play, trouble
from tests.cluster.engine.stages import Obey, pool
from tests.hypothesis_examples import examples

STEPS = ("answer", "answer", "answer", "raise", "devour", "die", "wait", "wait", "look", "start", "push")


def books_balance(play: Play, given_keys: set[str]) -> None:
    """Each item is over or under way, and that once."""
    made = play.pool
    under_way = [key for worker in made.workers for key in play.running(worker)]
    under_way += [task.key for task in (*made.queue, *made.suspects)]
    over = [*play.passed.elements(), *play.failures.elements()]
    assert sorted(under_way + over) == sorted(given_keys)
    counted = [call for worker in made.workers for call in worker.calls if worker.ready and not call.revoked]
    assert made.calls == len(counted) == play.after.promised
    assert made.queued_bytes == 10 * made.queued
    own = [worker for worker in made.workers if not worker.spare]
    assert len(own) == made.spec.workers and len(made.workers) <= len(own) + 1
    assert not any(worker.dead for worker in made.workers)


def step(play: Play, what: str, worker: Worker, fresh: str) -> set[str]:
    if what == "push":
        play.push(fresh)
        return {fresh}
    if what == "look":
        play.look()
    elif what == "die":
        play.die(worker)
    elif not worker.ready:
        play.start(worker)
    elif worker.calls and what in ("answer", "raise", "devour"):
        told = {"raise": "CorruptMediaError", "devour": "OutOfMemoryError"}
        play.answer(worker, *([trouble(told[what])] if what in told else []))
    elif worker.calls and what == "wait":
        play.let_pass(worker, 0.55)
    return set()


@settings(max_examples=examples(300), deadline=None)
@given(data=st.data(), workers=st.integers(1, 3), in_flight=st.integers(1, 3), room=st.integers(1, 8))
def test_each_item_has_one_outcome(data: Any, workers: int, in_flight: int, room: int) -> None:
    spec = pool(Obey("a"), workers=workers, deadline=DEADLINE_SECONDS, in_flight=in_flight)
    play = Play(spec, pool(Obey("b"), queue_items=room), max_attempts=2)
    keys = {f"t{number}" for number in range(8)}
    play.push(*sorted(keys))
    for number in range(data.draw(st.integers(0, 40), label="steps")):
        worker = data.draw(st.sampled_from(play.alive), label="worker")
        what = data.draw(st.sampled_from(STEPS), label="step")
        # A suspect that hangs and one that dies in its setup end runs, as they are to: not this one's matter.
        if what == "die" and not worker.ready and not worker.spare:
            continue
        keys |= step(play, what, worker, f"n{number}")
        books_balance(play, keys)
    while not play.pool.quiet:
        for worker in play.alive:
            if not worker.ready:
                play.start(worker)
            elif worker.calls:
                play.answer(worker)
    books_balance(play, keys)
    assert play.passed.keys() | play.failures.keys() == keys
    play.look()
    assert play.after.promised_bytes == 0
