"""Items that were charged with a worker's death or a missed deadline.

Each of them is retried alone, after the other items.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable

from mien.cluster.engine.worker import WorkItem
from mien.pipelines.stage import DeadlineRule

_DEADLINES_TO_WAIT = 20
"""An item in quarantine waits until no other item waits or is on its way, but at most this many of its own
deadlines, and as long after the previous quarantined item. Retries of items that hang therefore cost the
other items 5 % of the time at most, and are not postponed indefinitely."""
_DEATH_WAIT_SECONDS = 600.0
"""The maximum wait of an item whose worker died. The node may have failed, and then the item is innocent.
With a deadline of hours (a transfer, a shard) it would wait for days in a run that always has more to do."""


class QuarantineQueue(deque[WorkItem]):
    """In the order in which the items will run."""

    def __init__(self, deadline: DeadlineRule, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._deadline = deadline
        self._clock = clock
        self._next_at = 0.0

    def add(self, item: WorkItem) -> None:
        """Adds items that missed a deadline after those that died: each of them may take another deadline,
        and a death may be charged to an innocent item whose reply was lost when the next call killed the
        worker."""
        item.run_alone_by = self._clock() + self._wait_seconds(item)
        places = (n for n, other in enumerate(self) if other.was_late and not item.was_late)
        self.insert(next(places, len(self)), item)

    def take(self) -> WorkItem:
        item = self.popleft()
        self._next_at = self._clock() + self._wait_seconds(item)
        return item

    @property
    def first_is_due(self) -> bool:
        """Whether the first item runs now, even if other items wait."""
        return self._clock() > max(self[0].run_alone_by, self._next_at)

    def _wait_seconds(self, item: WorkItem) -> float:
        wait = _DEADLINES_TO_WAIT * self._deadline.seconds(item.seconds)
        return wait if item.was_late else min(wait, _DEATH_WAIT_SECONDS)
