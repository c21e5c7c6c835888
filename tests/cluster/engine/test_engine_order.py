"""Replies that Ray delivers in another order than that of the calls: no Ray, no processes."""

from __future__ import annotations

from concurrent.futures import Future
from itertools import permutations
from typing import Any

import pytest

from mien.cluster.engine import Engine
from mien.cluster.engine.flow import Flow
from mien.cluster.engine.pool import Pool
from mien.cluster.engine.worker import Call, Kind, Task, Worker
from tests.cluster.engine.stages import Obey, pool


class Books:
    def __init__(self) -> None:
        self.told: list[tuple[str, Any]] = []

    def finished(self, item: Any) -> None:
        self.told.append(("finished", item))

    def exhausted(self, key: str, count: int) -> None:
        self.told.append(("exhausted", count))


def reply(kind: str, *keys: str) -> list[Any]:
    return [kind, 1, 0.0, [[key, 1.0, 1, key, True, [], None] for key in keys], None]


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_fan_out_ends_after_its_last_item_however_the_replies_come(order: tuple[int, ...]) -> None:
    books: Any = Books()
    engine = Engine([pool(Obey("a"), fan_out=True)], books)
    made = Pool(engine._specs[0], pickled_stage=b"", before=None, last=True)
    engine._flow = Flow(
        [made], books, engine._on_done, engine._backend, max_attempts=3, max_consecutive_failures=None
    )
    worker = Worker(spec=made.spec, handle=books, inbox=engine._on_done, ready=True)
    task = Task(key="v", seconds=1.0, nbytes=1, payload=None, index=None, parent="v")
    calls = [Call(Kind.PULL, task) for _ in range(3)]
    worker.calls.extend(calls)
    worker.stream = task
    made.calls = 3
    for number in order:
        future: Future[Any] = Future()
        future.set_result([reply("ok", "first"), reply("ok", "second"), reply("end")][number])
        engine._on_done(worker, calls[number], future)
    engine._take_events()
    assert books.told == [("finished", "first"), ("finished", "second"), ("exhausted", 2)]
    assert not worker.calls
