"""A driver that is held up does not take for late what was in time."""

import time

import pytest

from cluster.engine import Engine
from tests.cluster.engine.stages import Obey, Parcel, Recorder, pool

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("any_backend")]


class HeldUp(Recorder):
    """Its catalog restarts while the second question is asked: longer than the deadline."""

    questions = 0

    def next_inputs(self, limit: int) -> list[Parcel] | None:
        self.questions += 1
        if self.questions == 2:
            time.sleep(4)
        return super().next_inputs(min(limit, 8))


def test_replies_that_came_meanwhile_are_read_before_anybody_is_late() -> None:
    observer = HeldUp([Parcel(key=f"p{number}", orders={"a": "sleep 0.3"}) for number in range(12)])
    Engine([pool(Obey("a"), workers=2, deadline=3, queue_items=8)], observer).run()
    assert len(observer.finished_items) == 12
    assert {snapshot.pools[0].retried for snapshot in observer.snapshots} == {0}
    assert {snapshot.pools[0].workers for snapshot in observer.snapshots} == {2}  # and no spare
