"""Runs the pipeline in a process of its own and records its state once per second.

    python -m mien.cluster.benchmarks.recorded_run STORE TIMELINE PATH… [--local] [--set KEY=VALUE]…
    python -m mien.cluster.benchmarks.recorded_run STORE TIMELINE PATH --only-start

With --only-start the run ends when all workers have started. TIMELINE receives one JSON object per line. The
last output line is JSON: the duration and the final status.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from mien.cluster.config import load
from mien.cluster.runner.catalog_additions import add
from mien.cluster.runner.observer import RunObserver
from mien.cluster.runner.run import RunResult, run


def run_pipeline(
    store: Path, *paths: Path, flags: tuple[str, ...] = (), local: bool, on_progress: Any = None
) -> tuple[RunResult, float]:
    """Adds `paths` to a store and runs the pipeline. Also returns the CPU seconds of adding."""
    settings = load(flags=(f"store.root={store}", *flags), environment={}).settings
    before = time.process_time()
    add(settings, [str(path) for path in paths])
    adding = time.process_time() - before
    return run(settings, local=local, **({} if on_progress is None else {"on_progress": on_progress})), adding


class Recorder:
    """Writes one line of JSON at each call; a run calls it about once per second."""

    def __init__(self, path: Path, store: Path) -> None:
        self._file = path.open("w")
        self.all_started = False
        self._store = store

    def __call__(self, _: object, snapshot: Any, _seconds: float = 0.0) -> None:
        if snapshot is None:
            return
        self.all_started = not any(pool.starting for pool in snapshot.pools)
        spool = sum(file.stat().st_size for file in (self._store / "spool").rglob("*.part"))
        line = {"at": time.time(), "rss_bytes": _rss_bytes(), "spool_bytes": spool}
        self._file.write(json.dumps({**line, **dataclasses.asdict(snapshot)}) + "\n")
        self._file.flush()


def _rss_bytes() -> int:
    status = Path("/proc/self/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmRSS:")) * 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("timeline", type=Path)
    parser.add_argument("paths", nargs="+", type=Path)
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--only-start", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="flags")
    arguments = parser.parse_args()
    recorder = Recorder(arguments.timeline, arguments.store)
    if arguments.only_start:
        # A run without work would not start any worker, or would end before the workers have loaded their
        # networks. This one claims to have work until all workers are up.
        RunObserver.next_inputs = lambda *_: None if recorder.all_started else []  # type: ignore[method-assign]
    result, adding = run_pipeline(
        arguments.store,
        *arguments.paths,
        flags=tuple(arguments.flags),
        local=arguments.local,
        on_progress=recorder,
    )
    facts = {"adding_cpu_seconds": adding, "seconds": result.seconds}
    print(json.dumps({**facts, **json.loads(json.dumps(dataclasses.asdict(result.status), default=str))}))


if __name__ == "__main__":
    main()
