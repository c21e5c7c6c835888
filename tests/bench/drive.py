"""One run in a process of its own, with a line of what it looked like for each second.

    python -m tests.bench.drive STORE TIMELINE PATH… [--local] [--set KEY=VALUE]…
    python -m tests.bench.drive STORE TIMELINE PATH --only-start     # all workers start, and it ends

Prints, as JSON in the last line, how long the parts took and what came out.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import time
from pathlib import Path
from typing import Any

from mien.cluster.runner.adding import add
from mien.cluster.runner.observer import RunObserver
from mien.cluster.runner.run import run
from tests.runs import settings_in


class Watch:
    """Called about each second; writes a line of JSON."""

    def __init__(self, path: Path, store: Path) -> None:
        self._file = path.open("w")
        self.all_up = False
        self._store = store

    def __call__(self, _: object, snapshot: Any, _seconds: float = 0.0) -> None:
        if snapshot is None:
            return
        self.all_up = not any(pool.starting for pool in snapshot.pools)
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
    parser.add_argument("paths", nargs="+")
    parser.add_argument("--local", action="store_true")
    parser.add_argument("--only-start", action="store_true")
    parser.add_argument("--set", action="append", default=[], dest="flags")
    arguments = parser.parse_args()
    settings = settings_in(arguments.store, *arguments.flags)
    before = time.process_time()
    add(settings, arguments.paths)
    adding = time.process_time() - before
    watch = Watch(arguments.timeline, arguments.store)
    if arguments.only_start:
        # A run without work would start nothing, or end before its workers have loaded their networks.
        RunObserver.next_inputs = lambda *_: None if watch.all_up else []  # type: ignore[method-assign]
    result = run(settings, local=arguments.local, show=watch)
    status = result.status
    told = {"adding_cpu_seconds": adding, "seconds": result.seconds}
    print(json.dumps({**told, **json.loads(json.dumps(dataclasses.asdict(status), default=str))}))


if __name__ == "__main__":
    main()
