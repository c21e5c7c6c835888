"""Items that were charged with a death or a deadline once: each runs alone, when nothing else waits or is on
its way. How long they wait for that."""

from __future__ import annotations

import time
from collections import deque

from mien.cluster.engine.worker import Task
from mien.pipelines.stage import DeadlineRule

_SHARE = 20
"""A suspect waits until nothing else does or will, but no longer than this many of its own deadlines, nor
sooner after another: so retries of items that hang cost the others 5 % of the time at most, and are not put
off for ever."""
_DEATH_WAIT_SECONDS = 600.0
"""No longer than this where its worker died: it may be the node that went, and behind a deadline of hours (of
a transfer, of a shard) the innocent would wait for days in a run that always has more to do."""


class QuarantineQueue(deque[Task]):
    """In the order in which they are to run."""

    def __init__(self, deadline: DeadlineRule) -> None:
        super().__init__()
        self._deadline = deadline
        self._next_at = 0.0

    def add(self, task: Task) -> None:
        """Those that were late come last: each may take another deadline. And a death may be charged to an
        innocent, whose reply went down with the worker that the call behind it killed."""
        task.run_alone_by = time.monotonic() + self._wait_seconds(task)
        places = (n for n, other in enumerate(self) if other.was_late and not task.was_late)
        self.insert(next(places, len(self)), task)

    def take(self) -> Task:
        task = self.popleft()
        self._next_at = time.monotonic() + self._wait_seconds(task)
        return task

    @property
    def have_waited(self) -> bool:
        """Whether the first has its turn now, whatever else waits."""
        return time.monotonic() > max(self[0].run_alone_by, self._next_at)

    def _wait_seconds(self, task: Task) -> float:
        wait = _SHARE * self._deadline.seconds(task.seconds)
        return wait if task.was_late else min(wait, _DEATH_WAIT_SECONDS)
