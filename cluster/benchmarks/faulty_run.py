"""Runs the pipeline with one more stage, FaultyStage, over two short films.

python -m mien.cluster.benchmarks.faulty_run STORE FOLDER '{"a 4760": "hang"}' KEY=VALUE…
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.cluster.benchmarks.faulty_stage import FaultyStage
from mien.cluster.benchmarks.recorded_run import run_pipeline
from mien.cluster.runner import pool_planning
from mien.ingest.catalog import Catalog, SegmentHistory, VideoHistory
from mien.pipelines.talking_face import talking_face
from mien.pipelines.weights import DEMO_CLIPS, pull

DEADLINE_SECONDS = 15.0
FLAGS = (
    "split.target_seconds=1.0",
    "split.min_seconds=1.0",
    "split.max_seconds=2.0",
    "clip.min_seconds=0.2",
    "fetch.duplicates=keep",  # both films have the same content
    "shards.max_bytes=1",  # each segment is committed at once, so the catalog has the time of each
    f"engine.deadline_base_seconds={DEADLINE_SECONDS}",
    "engine.deadline_per_second=0",
    # A worker's death may be charged to the previous call, whose reply was lost with the worker.
    # Two attempts are therefore the minimum.
    "engine.max_attempts=2",
)
LOG = "faults.log"
ERROR_CLASSES = {
    "hang": "DeadlineExceededError",
    "hang in C": "DeadlineExceededError",
    "kill": "WorkerDiedError",
    "segmentation fault": "WorkerDiedError",
    "exit": "WorkerDiedError",
    "raise": "UnexpectedError",
    "out of memory": "OutOfMemoryError",
}
"""The error class that a segment with each fault must end with."""
HANGING = ("hang", "hang in C")


@dataclass(frozen=True, slots=True)
class FaultyRunResult:
    """The catalog and the log of a run."""

    histories: dict[str, VideoHistory]
    log: list[tuple[str, str]]
    """The faulty stage's events in order: STARTED or FINISHED, and the segment's name."""

    @property
    def segments(self) -> dict[str, SegmentHistory]:
        return {
            f"{title} {segment.start_ms}": segment
            for title, history in self.histories.items()
            for segment in history.segments
        }

    @property
    def commits(self) -> list[float]:
        """Seconds from the first claim to each commit."""
        events = [event for history in self.histories.values() for event in history.events]
        began = min(event.at for event in events if event.what == "claimed")
        return sorted(event.at - began for event in events if event.what == "committed")


def make_two_films(folder: Path) -> Path:
    for title in "ab":
        shutil.copy(pull(DEMO_CLIPS.name) / "talks.mp4", folder / f"{title}.mp4")
    return folder


def choose_faults(clean: FaultyRunResult) -> dict[str, str]:
    """Gives one fault each to every second segment that has samples, until all faults are used."""
    with_samples = [name for name, segment in clean.segments.items() if segment.sample_count]
    return dict(zip(with_samples[::2], ERROR_CLASSES, strict=False))


def run_with_faults(store: Path, films: Path, faults: dict[str, str]) -> FaultyRunResult:
    """Runs over `films` in a process of its own, because the pipeline is patched there."""
    driver = [sys.executable, "-m", __name__]
    subprocess.run([*driver, str(store), str(films), json.dumps(faults), *FLAGS], check=True, timeout=900)
    with Catalog.open(f"sqlite:///{store}/catalog.sqlite") as catalog:
        found = {film.stem: catalog.explain(str(film)) for film in sorted(films.iterdir())}
    lines = (line.partition(" ") for line in (store / LOG).read_text().splitlines())
    return FaultyRunResult(
        histories={title: history for title, history in found.items() if history is not None},
        log=[(event, name) for event, _, name in lines],
    )


def main() -> None:
    store, films, faults, *flags = sys.argv[1:]
    Path(store).mkdir(parents=True, exist_ok=True)
    faulty = FaultyStage(faults=json.loads(faults), log=str(Path(store).absolute() / LOG))

    def with_faulty_stage(**how: Any) -> list[Any]:
        fetch, split, *rest = talking_face(**how)
        return [fetch, split, faulty, *rest]

    pool_planning.talking_face = with_faulty_stage  # type: ignore[attr-defined]
    run_pipeline(Path(store), Path(films), flags=tuple(flags), local=False)


if __name__ == "__main__":
    from mien.cluster.benchmarks import faulty_run  # by name: workers cannot import classes of `__main__`

    faulty_run.main()
