"""A run whose pipeline has one stage more, the poisonous one.

python -m tests.poison STORE FOLDER '{"a 4760": "hang"}' KEY=VALUE…
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mien.cluster.runner import pool_planning
from mien.ingest.catalog import Catalog, SegmentStory, Story
from mien.pipelines.talking_face import talking_face
from tests.clips import demo_clip
from tests.poisonous import Poison
from tests.runs import run_over

DEADLINE_SECONDS = 15.0
FLAGS = (
    "split.target_seconds=1.0",
    "split.min_seconds=1.0",
    "split.max_seconds=2.0",
    "clip.min_seconds=0.2",
    "fetch.duplicates=keep",  # one film under two names
    "shards.max_bytes=1",  # each segment is committed at once, so that the catalog tells when it was done
    f"engine.deadline_base_seconds={DEADLINE_SECONDS}",
    "engine.deadline_per_second=0",
    # One death may be charged to the call before it, whose reply went down with the worker: two is the least.
    "engine.max_attempts=2",
)
LOG = "poison.log"
OUTCOMES = {
    "hang": "DeadlineExceededError",
    "hang in C": "DeadlineExceededError",
    "kill": "WorkerDiedError",
    "crash": "WorkerDiedError",
    "leave": "WorkerDiedError",
    "raise": "UnexpectedError",
    "eat": "OutOfMemoryError",
}
HANGING = ("hang", "hang in C")


@dataclass(frozen=True, slots=True)
class Told:
    """What a run left to be read."""

    stories: dict[str, Story]
    notes: list[tuple[str, str]]
    """What happened in the poisoned stage, in order: BEGUN or PASSED, and the segment."""

    @property
    def segments(self) -> dict[str, SegmentStory]:
        return {
            f"{title} {segment.start_ms}": segment
            for title, story in self.stories.items()
            for segment in story.segments
        }

    @property
    def commits(self) -> list[float]:
        """Seconds from the first claim to each commit."""
        events = [event for story in self.stories.values() for event in story.events]
        began = min(event.at for event in events if event.what == "claimed")
        return sorted(event.at - began for event in events if event.what == "committed")


def two_films(folder: Path) -> Path:
    for title in "ab":
        shutil.copy(demo_clip("talks.mp4"), folder / f"{title}.mp4")
    return folder


def choose_fates(clean: Told) -> dict[str, str]:
    """For every second one of the segments with samples, until each fate has one."""
    fertile = [name for name, segment in clean.segments.items() if segment.sample_count]
    return dict(zip(fertile[::2], OUTCOMES, strict=False))


def told(store: Path, films: Path, fates: dict[str, str]) -> Told:
    """Of a run over `films` in a process of its own, since its pipeline is patched."""
    # Not -m, or no worker would find the stage's class.
    driver = [sys.executable, "-c", "from tests.poison import main; main()"]
    arguments = [str(store), str(films), json.dumps(fates), *FLAGS]
    root = Path(__file__).resolve().parents[1]
    subprocess.run(
        [*driver, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        timeout=900,
    )
    with Catalog.open(f"sqlite:///{store}/catalog.sqlite") as catalog:
        found = {film.stem: catalog.explain(str(film)) for film in sorted(films.iterdir())}
    lines = (line.partition(" ") for line in (store / LOG).read_text().splitlines())
    return Told(
        stories={title: story for title, story in found.items() if story is not None},
        notes=[(what, name) for what, _, name in lines],
    )


def main() -> None:
    store, films, fates, *flags = sys.argv[1:]
    Path(store).mkdir(parents=True, exist_ok=True)
    poison = Poison(fates=json.loads(fates), log=str(Path(store).absolute() / LOG))

    def poisoned(**how: Any) -> list[Any]:
        fetch, split, *rest = talking_face(**how)
        return [fetch, split, poison, *rest]

    pool_planning.talking_face = poisoned  # type: ignore[attr-defined]
    run_over(Path(store), Path(films), flags=tuple(flags), local=False)
