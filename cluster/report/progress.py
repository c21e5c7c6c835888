"""Progress on a terminal: how far, how fast, how long yet, and how much of it survives."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from cluster.report.funnel import clock
from pipelines.data import KEPT

if TYPE_CHECKING:
    from cluster.engine import Snapshot
    from ingest.catalog import Catalog

SHOW_EVERY_SECONDS = 2.0


class Progress:
    """`with Progress() as progress: run(…, show=progress.show)`; silent where stderr is no terminal."""

    def __init__(self, *, enabled: bool | None = None) -> None:
        self._enabled = sys.stderr.isatty() if enabled is None else enabled
        self._bar: Any = None
        self._began = time.monotonic()
        self._shown = 0.0
        self._before: float | None = None
        """Seconds that earlier runs ended."""

    def __enter__(self) -> Self:
        if self._enabled:
            from rich.console import Console
            from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
            from rich.progress import Progress as Bar

            self._bar = Bar(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[told]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=None, told="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def say(self, line: str) -> None:
        """What must not be missed, terminal or not."""
        if self._bar is not None:
            self._bar.console.print(line, markup=False, highlight=False)
        else:
            print(line, file=sys.stderr, flush=True)

    def show(self, catalog: Catalog, snapshot: Snapshot, seconds: float) -> None:
        """`seconds` of media are through in this run, committed or not."""
        now = time.monotonic()
        if self._bar is None or now - self._shown < SHOW_EVERY_SECONDS:
            return
        self._shown = now
        status = catalog.status()
        if self._before is None:
            self._before = sum(status.seconds_by_fate.values())
        total = sum(status.videos.values())
        ended = sum(status.videos[state] for state in ("done", "partial", "failed", "duplicate"))
        probed = total - status.videos["waiting"]
        # What is not probed yet is taken to be as long, one with another, as what is.
        all_seconds = status.media_seconds * total / probed if probed else 0.0
        rate = seconds / max(1e-9, now - self._began)
        parts = [f"{ended}/{total} videos", f"{clock(seconds)} of media", f"{rate:.1f}× real time"]
        if rate > 0:
            parts.append(f"ETA {clock(max(0.0, all_seconds - self._before - seconds) / rate)}")
        told = sum(status.seconds_by_fate.values())
        # Before the first shard is committed only losses are known.
        if status.shards and told:
            parts.append(f"yield {status.seconds_by_fate.get(KEPT, 0.0) / told:.0%}")
        failed = status.videos["failed"] + sum(status.segment_errors.values())
        if failed:
            parts.append(f"{failed} failed")
        parts.append(" ".join(f"{pool.name} {pool.busy}+{pool.queued}" for pool in snapshot.pools))
        done = self._before + seconds
        self._bar.update(
            self._task,
            description="mien",
            total=all_seconds or None,
            completed=min(done, all_seconds),
            told=" · ".join(parts),
        )
