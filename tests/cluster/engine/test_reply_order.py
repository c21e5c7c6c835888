"""Replies that arrive in another order than that of their calls."""

from __future__ import annotations

from itertools import permutations

import pytest

from mien.cluster.engine.messages import ReplyStatus, encode
from tests.cluster.engine.scripted import ScriptedRun, reply, scripted_run
from tests.cluster.engine.stages import Split


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_fan_out_ends_after_its_last_output(order: tuple[int, ...]) -> None:
    run: ScriptedRun = scripted_run(1, stage=Split("a"), in_flight=3)
    run.push("v")
    (worker,) = run.alive
    calls = list(worker.calls)
    assert len(calls) == 3
    ended: list[tuple[str, int, int]] = []
    run.exhausted = lambda key, count: ended.append((key, count, run.pool.done))  # type: ignore[method-assign]
    answers = [reply("first"), reply("second"), reply(status=ReplyStatus.STREAM_ENDED)]
    for number in order:
        calls[number].future.set_result(encode(answers[number]))
    run.engine.step()
    assert ended == [("v", 2, 1)]
    run.check_deadlines()
    assert run.passed == {"first": 1, "second": 1}
    assert not worker.calls
