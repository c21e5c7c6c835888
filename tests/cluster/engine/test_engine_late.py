"""A driver that is held up does not take for late what was in time."""

import time
from types import SimpleNamespace

import pytest

from mien.cluster.engine import Engine, scheduler, worker
from tests.cluster.engine.stages import Obey, Parcel, Recorder, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_backend")]
DEADLINE_SECONDS = 60.0


class HeldUp(Recorder):
    """Its catalog restarts while the second question is asked: longer than the deadline, on a clock that
    goes on when all that is under way has been answered."""

    engine: Engine
    questions = 0
    held_up_seconds = 0.0
    unread = 0

    def next_inputs(self, limit: int) -> list[Parcel] | None:
        self.questions += 1
        if self.questions == 2:
            calls = [call for pool in self.engine._pools for each in pool.workers for call in each.calls]
            self.unread = sum(call.reply is None for call in calls)
            while self.engine._inbox.qsize() < self.unread:
                time.sleep(0.01)
            self.held_up_seconds = 2 * DEADLINE_SECONDS
        return super().next_inputs(min(limit, 8))


def test_replies_that_came_meanwhile_are_read_before_anybody_is_late(monkeypatch: pytest.MonkeyPatch) -> None:
    observer = HeldUp(parcels(12, a=dict.fromkeys(range(12), "sleep 0.3")))
    clock = SimpleNamespace(monotonic=lambda: time.monotonic() + observer.held_up_seconds)
    for module in (scheduler, worker):
        monkeypatch.setattr(module, "time", clock)
    observer.engine = Engine([pool(Obey("a"), workers=2, deadline=DEADLINE_SECONDS, queue_items=8)], observer)
    observer.engine.run()
    assert observer.unread > 0
    assert len(observer.finished_items) == 12
    assert {snapshot.pools[0].retried for snapshot in observer.snapshots} == {0}
    assert {snapshot.pools[0].workers for snapshot in observer.snapshots} == {2}  # and no spare
