"""Segments that hang, die, raise or devour cost themselves alone, and no more time than a deadline."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from ingest.catalog import Catalog, SegmentStory, Story
from tests.clips import demo_clip, needs_weights
from tests.poison import OUTCOMES

pytestmark = pytest.mark.slow

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


@dataclass(frozen=True, slots=True)
class Told:
    """What the catalog says of a run."""

    stories: dict[str, Story]

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


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_weights()
    folder = tmp_path_factory.mktemp("films")
    for title in "ab":
        shutil.copy(demo_clip("talks.mp4"), folder / f"{title}.mp4")
    return folder


def told(store: Path, films: Path, fates: dict[str, str]) -> Told:
    # A process of its own, since its pipeline is patched; not -m, or no worker would find the stage's class.
    driver = [sys.executable, "-c", "from tests.poison import main; main()"]
    arguments = [str(store), str(films), json.dumps(fates), *FLAGS]
    root = Path(__file__).resolve().parents[2]
    subprocess.run(
        [*driver, *arguments],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        check=True,
        timeout=300,
    )
    with Catalog.open(f"sqlite:///{store}/catalog.sqlite") as catalog:
        found = {film.stem: catalog.explain(str(film)) for film in sorted(films.iterdir())}
    return Told({title: story for title, story in found.items() if story is not None})


@pytest.fixture(scope="module")
def clean(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return told(tmp_path_factory.mktemp("clean"), films, {})


@pytest.fixture(scope="module")
def fates(clean: Told) -> dict[str, str]:
    """For every second one of the segments with samples, until each fate has one."""
    fertile = [name for name, segment in clean.segments.items() if segment.sample_count]
    return dict(zip(fertile[::2], OUTCOMES, strict=False))


@pytest.fixture(scope="module")
def poisoned(
    films: Path, fates: dict[str, str], clean: Told, tmp_path_factory: pytest.TempPathFactory
) -> Told:
    return told(tmp_path_factory.mktemp("poisoned"), films, fates)


def test_each_ends_in_its_own_class(poisoned: Told, fates: dict[str, str]) -> None:
    assert list(fates.values()) == list(OUTCOMES)
    failed = {
        name: segment.error_class for name, segment in poisoned.segments.items() if segment.state == "failed"
    }
    assert failed == {name: OUTCOMES[fate] for name, fate in fates.items()}
    for name in fates:
        segment = poisoned.segments[name]
        assert segment.stage == "poison"
        assert segment.error_text
        length_seconds = (segment.end_ms - segment.start_ms) / 1000
        assert segment.seconds_by_fate == {"failed": pytest.approx(length_seconds)}


def test_all_others_are_done_as_if_nothing_had_been(
    clean: Told, poisoned: Told, fates: dict[str, str]
) -> None:
    def came_of(ran: Told) -> dict[str, tuple[str, int, dict[str, float]]]:
        return {
            name: (segment.state, segment.sample_count, segment.seconds_by_fate)
            for name, segment in ran.segments.items()
            if name not in fates
        }

    assert came_of(poisoned) == came_of(clean)
    assert {story.state for story in clean.stories.values()} == {"done"}
    states = {title: story.state for title, story in poisoned.stories.items()}
    hit = {name.split()[0] for name in fates}
    assert states == {title: "partial" if title in hit else "done" for title in states}


def test_nobody_waits_for_longer_than_a_deadline(clean: Told, poisoned: Told) -> None:
    # The deadline is what the design grants. As much again is slack, for the start of a worker in the place
    # of each that died, on a machine that others use.
    for place, (seconds, without) in enumerate(zip(poisoned.commits, clean.commits, strict=False)):
        assert seconds <= without + 2 * DEADLINE_SECONDS, f"commit {place}"
