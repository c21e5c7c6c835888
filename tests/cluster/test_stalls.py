"""Segments that hang, die, raise or devour cost themselves alone, and the others one attempt each at most."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.clips import needs_weights
from tests.poison import HANGING, OUTCOMES, Told, choose_fates, told, two_films
from tests.poisonous import BEGUN, PASSED

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_weights()
    return two_films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def clean(films: Path, tmp_path_factory: pytest.TempPathFactory) -> Told:
    return told(tmp_path_factory.mktemp("clean"), films, {})


@pytest.fixture(scope="module")
def fates(clean: Told) -> dict[str, str]:
    return choose_fates(clean)


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


def test_nobody_waits_for_the_retries_of_one_that_stalls(
    clean: Told, poisoned: Told, fates: dict[str, str]
) -> None:
    """All innocent segments are through the stage before any of the guilty takes its time a second time: so a
    segment that hangs costs nobody more than a deadline, on a machine of whatever speed."""
    innocent = {name for name in clean.segments if name not in fates}
    notes = poisoned.notes
    assert {name for what, name in notes if what == PASSED} == innocent
    last = max(notes.index((PASSED, name)) for name in innocent)
    last_again = max(place for place, (what, _) in enumerate(notes) if what == PASSED)
    for name, fate in fates.items():
        attempts = [place for place, note in enumerate(notes) if note == (BEGUN, name)]
        if fate in HANGING:
            assert len(attempts) == 2
            assert attempts[1] > last_again, (name, fate, notes)
        else:  # a death may be charged to the call before it, whose reply went down with the worker
            assert all(place > last for place in attempts[2:]), (name, fate, notes)
