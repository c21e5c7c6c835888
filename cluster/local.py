"""Runs the stages in one process, in order, without Ray: for tests, and to debug one file.

The observer gets the same calls as from `Engine`. Workers cannot be killed in one process, so there are no
deadlines and no memory limits.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

from mien.cluster.engine.errors import classify, error_from_name, not_acknowledged
from mien.cluster.engine.interface import ErrorInfo, Observer, PoolSnapshot, PoolSpec, Snapshot
from mien.ingest.errors import Policy
from mien.pipelines.stage import AggregatingStage, Item, StageContext


class LocalEngine:
    """Stands in for `Engine`: the same methods, the same observer."""

    def __init__(
        self, pools: Sequence[PoolSpec], observer: Observer, *, context: StageContext | None = None
    ) -> None:
        self._pools = tuple(pools)
        self._observer = observer
        self._context = context or StageContext()
        self._held: dict[int, dict[str, Item]] = {position: {} for position in range(len(pools))}
        self._retained: dict[str, tuple[int, Item]] = {}
        self._again: deque[tuple[int, Item]] = deque()
        self._counts = [[0, 0] for _ in pools]
        self._busy = [0.0 for _ in pools]
        self._seconds = [0.0 for _ in pools]
        self._flushed_at = self._started = self._ticked = time.monotonic()
        self._stopping = False
        self._broken: set[int] = set()
        """Stages that stopped the run. Their state is unknown, so they are not flushed."""

    def check(self) -> None:
        """Does nothing: one process fits on every machine."""

    def stop(self) -> None:
        self._stopping = True

    def acknowledge(self, keys: Collection[str]) -> None:
        for key in keys:
            self._retained.pop(key, None)

    def redo(self, keys: Collection[str]) -> None:
        self._again.extend(self._retained.pop(key) for key in keys if key in self._retained)

    def run(self) -> None:
        for pool in self._pools:
            try:
                pool.stage.setup(self._context)
            except Exception as error:
                info = classify(error)
                text = f"stage {pool.name} cannot start: {info.text}"
                raise error_from_name(info.error_class, text) from error
        try:
            self._run_inputs()
        finally:  # also after an error: the items that aggregating stages hold are complete
            self._flush_all()
            for pool in self._pools:
                pool.stage.close()

    def _run_inputs(self) -> None:
        while not self._stopping:
            items = self._observer.next_inputs(1)
            if items is None:
                return
            if not items:
                time.sleep(0.1)
            for item in items:
                self._run_from(0, item)
            self._tick()
            if time.monotonic() - self._flushed_at > min(pool.flush_seconds for pool in self._pools):
                self._flush_all()

    def _run_from(self, position: int, item: Item) -> None:
        """Passes `item` to stage `position`, and each output to the later stages before pulling the next."""
        pool = self._pools[position]
        count = 0
        if pool.aggregates:
            self._held[position][item.key] = item
        outputs = self._timed(position, lambda: pool.stage(item))
        while True:
            try:
                output = next(outputs)
            except StopIteration:
                break
            except Exception as error:
                info = classify(error)
                if info.policy is Policy.STOP:
                    self._broken.add(position)
                    raise error_from_name(info.error_class, f"stage {pool.name}: {info.text}") from error
                self._held[position].pop(item.key, None)
                self._fail(position, item, replace(info, yielded=count if pool.fans_out else 0))
                return
            count += 1
            self._pass_on(position, output)
            if self._stopping:
                return
        self._counts[position][0] += 1
        self._seconds[position] += item.seconds
        if pool.fans_out or (count != 1 and not pool.aggregates):
            self._observer.exhausted(item.key, count)

    def _fail(self, position: int, item: Item, info: ErrorInfo) -> None:
        self._counts[position][1] += 1
        self._observer.failed(item.key, self._pools[position].name, info, item.seconds)

    def _timed(self, position: int, start: Any) -> Iterator[Any]:
        """Yields the outputs of a stage, and counts the time spent in it, excluding later stages."""
        began = time.perf_counter()
        outputs = iter(start())
        while True:
            try:
                output = next(outputs)
            except StopIteration:
                return
            finally:
                self._busy[position] += time.perf_counter() - began
            yield output
            began = time.perf_counter()

    def _pass_on(self, position: int, output: Any) -> None:
        pool = self._pools[position]
        for key in getattr(output, "acknowledges", ()):
            held = self._held[position].pop(key, None)
            if held is not None:
                self._retained[key] = (position, held)
        if pool.reports_outputs and self._observer.reported(pool.name, output) is False:
            return
        if getattr(output, "final", False) or position + 1 == len(self._pools):
            self._observer.finished(output)
        else:
            self._run_from(position + 1, output)
        self._tick()

    def _flush_all(self) -> None:
        self._flushed_at = time.monotonic()
        for position, pool in enumerate(self._pools):
            if not isinstance(pool.stage, AggregatingStage) or position in self._broken:
                continue
            while True:
                outputs: Iterable[Any] = pool.stage.flush()
                for output in outputs:
                    self._pass_on(position, output)
                for item in self._held[position].values():  # every item must end: finished or failed
                    self._fail(position, item, not_acknowledged(pool.name))
                self._held[position].clear()
                if not self._again:
                    break
                while self._again:
                    self._run_from(*self._again.popleft())

    def _tick(self) -> None:
        now = time.monotonic()
        if now - self._ticked < 1.0:
            return
        self._ticked = now
        self._observer.tick(Snapshot(
            uptime_seconds=now - self._started,
            pools=tuple(self._pool_snapshot(position) for position in range(len(self._pools))),
            retained=len(self._retained),
            retained_bytes=sum(item.nbytes for _, item in self._retained.values()),
        ))  # fmt: skip

    def _pool_snapshot(self, position: int) -> PoolSnapshot:
        done, failed = self._counts[position]
        return PoolSnapshot(
            name=self._pools[position].name,
            queued=0,
            queued_bytes=0,
            peak_queued=0,
            peak_queued_bytes=0,
            workers=1,
            starting=0,
            busy=0,
            held=len(self._held[position]),
            done=done,
            failed=failed,
            retried=0,
            done_seconds=self._seconds[position],
            busy_seconds=self._busy[position],
            rss_bytes=0,
        )
