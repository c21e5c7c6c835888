"""Replies that arrive while the driver is blocked count as in time."""

import time

import pytest

from mien.cluster.engine import Engine
from tests.cluster.engine.stages import Obey, Parcel, Recorder, parcels, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_backend")]
DEADLINE_SECONDS = 60.0


class BlockingObserver(Recorder):
    """Its second query blocks for longer than the deadline, while the workers finish all their calls."""

    engine: Engine
    queries = 0
    blocked_seconds = 0.0
    unread = 0

    def clock(self) -> float:
        return time.monotonic() + self.blocked_seconds

    def next_inputs(self, limit: int) -> list[Parcel] | None:
        self.queries += 1
        if self.queries == 2:
            calls = [call for pool in self.engine.pools for each in pool.workers for call in each.calls]
            self.unread = sum(not call.future.done() for call in calls)
            while not all(call.future.done() for call in calls):
                time.sleep(0.01)
            time.sleep(0.1)  # a callback puts each reply into the inbox just after its future is done
            self.blocked_seconds = 2 * DEADLINE_SECONDS
        return super().next_inputs(min(limit, 8))


def test_replies_are_read_before_deadlines_are_checked() -> None:
    observer = BlockingObserver(parcels(12, a=dict.fromkeys(range(12), "sleep 0.3")))
    spec = pool(Obey("a"), workers=2, deadline=DEADLINE_SECONDS, queue_items=8)
    observer.engine = Engine([spec], observer, clock=observer.clock)
    observer.engine.run()
    assert observer.unread > 0
    assert len(observer.finished_items) == 12
    assert {snapshot.pools[0].retried for snapshot in observer.snapshots} == {0}
    assert {snapshot.pools[0].workers for snapshot in observer.snapshots} == {2}  # and no backup worker
