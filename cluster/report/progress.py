"""The progress bar of a run: how much is done, how fast, how long the rest takes, and the yield."""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mien.cluster.report.formatting import format_duration
from mien.ingest.catalog.duplicates import DUPLICATE
from mien.pipelines.data import KEPT

if TYPE_CHECKING:
    from mien.cluster.engine import Snapshot
    from mien.ingest.catalog import Catalog, CatalogStatus

UPDATE_EVERY_SECONDS = 2.0
_ENDED = ("done", "partial", "failed", DUPLICATE)


class ProgressBar:
    """`with ProgressBar() as bar: run(…, on_progress=bar.update)`. Draws only if stderr is a terminal.

    Lines written to sys.stderr while the bar is drawn appear above it.
    """

    def __init__(self, *, only_fetch: bool = False, enabled: bool | None = None) -> None:
        self._enabled = sys.stderr.isatty() if enabled is None else enabled
        self._only_fetch = only_fetch
        self._bar: Any = None
        self._started_at = time.monotonic()
        self._updated_at = 0.0
        self._status_at_start: CatalogStatus | None = None

    def __enter__(self) -> Self:
        if self._enabled:
            from rich.console import Console
            from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

            self._bar = Progress(
                TextColumn("[bold]{task.description}"),
                BarColumn(bar_width=24),
                TextColumn("{task.fields[summary]}"),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._bar.add_task("starting", total=None, summary="")
            self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def update(self, catalog: Catalog, snapshot: Snapshot, seconds: float) -> None:
        """`seconds`: media that this run has processed so far, committed or not."""
        now = time.monotonic()
        if self._bar is None or now - self._updated_at < UPDATE_EVERY_SECONDS:
            return
        self._updated_at = now
        status, elapsed = catalog.status(), now - self._started_at
        before = self._status_at_start = self._status_at_start or status
        if self._only_fetch:
            progress = fetch_progress(status, snapshot, before=before, elapsed=elapsed)
        else:
            progress = media_progress(status, snapshot, before=before, seconds=seconds, elapsed=elapsed)
        self._bar.update(
            self._task,
            description="mien",
            total=progress.total or None,
            completed=progress.completed,
            summary=progress.summary,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class RunProgress:
    completed: float
    total: float
    """In the unit of `completed`; 0 while unknown."""
    summary: str


def media_progress(
    status: CatalogStatus, snapshot: Snapshot, *, before: CatalogStatus, seconds: float, elapsed: float
) -> RunProgress:
    """Progress in seconds of media.

    This run started `elapsed` seconds ago, with the catalog at `before`, and processed `seconds` of media.
    """
    total = sum(status.videos.values())
    probed = total - status.videos["waiting"]
    # Videos that are not probed yet are assumed to have the mean duration of those that are.
    all_seconds = status.media_seconds * total / probed if probed else 0.0
    done = sum(before.seconds_by_fate.values()) + seconds
    rate = seconds / max(1e-9, elapsed)
    parts = [f"{_ended(status)}/{total} videos", f"{format_duration(seconds)} of media"]
    parts.append(f"{rate:.1f}× real time")
    if rate > 0:
        parts.append(f"ETA {format_duration(max(0.0, all_seconds - done) / rate)}")
    accounted = sum(status.seconds_by_fate.values())
    # Before the first shard is committed, the catalog only knows losses.
    if status.shards and accounted:
        parts.append(f"yield {status.seconds_by_fate.get(KEPT, 0.0) / accounted:.0%}")
    return RunProgress(
        completed=min(done, all_seconds), total=all_seconds, summary=_joined(parts, status, snapshot)
    )


def fetch_progress(
    status: CatalogStatus, snapshot: Snapshot, *, before: CatalogStatus, elapsed: float
) -> RunProgress:
    """Progress in videos, for a run that only fetches: a fetched video is complete, though not processed."""
    total = sum(status.videos.values())
    pool = snapshot.pools[0]
    # A duplicate has ended, and was fetched as well: count it once.
    counted_twice = max(0, status.videos[DUPLICATE] - before.videos[DUPLICATE])
    completed = min(total, _ended(status) + max(0, pool.done - counted_twice))
    rate = (pool.done + pool.failed) / max(1e-9, elapsed)
    parts = [f"{completed}/{total} videos"]
    if rate > 0:
        pace = f"{rate:.1f}/s" if rate >= 1 else f"{rate * 60:.1f}/min"
        parts += [pace, f"ETA {format_duration((total - completed) / rate)}"]
    return RunProgress(completed=completed, total=total, summary=_joined(parts, status, snapshot))


def _ended(status: CatalogStatus) -> int:
    return sum(status.videos[state] for state in _ENDED)


def _joined(parts: list[str], status: CatalogStatus, snapshot: Snapshot) -> str:
    failed = status.videos["failed"] + sum(status.segment_errors.values())
    pools = " ".join(f"{pool.name} {pool.busy}+{pool.queued}" for pool in snapshot.pools)
    return " · ".join([*parts, *([f"{failed} failed"] if failed else []), pools])
