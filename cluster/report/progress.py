"""Progress on a terminal: how far, how fast, how long yet, and how much of it survives."""

from __future__ import annotations

import sys
import time
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from mien.cluster.report.pace import of_fetching, of_media

if TYPE_CHECKING:
    from mien.cluster.engine import Snapshot
    from mien.ingest.catalog import Catalog, Status

SHOW_EVERY_SECONDS = 2.0


class Progress:
    """`with Progress() as progress: run(…, show=progress.show)`; silent where stderr is no terminal."""

    def __init__(self, *, only_fetch: bool = False, enabled: bool | None = None) -> None:
        self._enabled = sys.stderr.isatty() if enabled is None else enabled
        self._only_fetch = only_fetch
        self._bar: Any = None
        self._began = time.monotonic()
        self._shown = 0.0
        self._before: Status | None = None
        """What earlier runs left."""

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
        status, elapsed = catalog.status(), now - self._began
        before = self._before = self._before or status
        if self._only_fetch:
            pace = of_fetching(status, snapshot, before=before, elapsed=elapsed)
        else:
            pace = of_media(status, snapshot, before=before, seconds=seconds, elapsed=elapsed)
        self._bar.update(
            self._task,
            description="mien",
            total=pace.total or None,
            completed=pace.completed,
            told=pace.told,
        )
