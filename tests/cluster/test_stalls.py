"""A segment that hangs, crashes, raises or uses up memory costs every other segment at most one attempt."""

from __future__ import annotations

from pathlib import Path

import pytest

from mien.cluster.benchmarks.faulty_run import (
    ERROR_CLASSES,
    HANGING,
    FaultyRunResult,
    choose_faults,
    make_two_films,
    run_with_faults,
)
from mien.cluster.benchmarks.faulty_stage import FINISHED, STARTED
from tests.demo_media import demo_clip, needs_weights

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Path:
    needs_weights()
    demo_clip("talks.mp4")
    return make_two_films(tmp_path_factory.mktemp("films"))


@pytest.fixture(scope="module")
def clean(films: Path, tmp_path_factory: pytest.TempPathFactory) -> FaultyRunResult:
    return run_with_faults(tmp_path_factory.mktemp("clean"), films, {})


@pytest.fixture(scope="module")
def faults(clean: FaultyRunResult) -> dict[str, str]:
    return choose_faults(clean)


@pytest.fixture(scope="module")
def faulty(
    films: Path, faults: dict[str, str], clean: FaultyRunResult, tmp_path_factory: pytest.TempPathFactory
) -> FaultyRunResult:
    return run_with_faults(tmp_path_factory.mktemp("faulty"), films, faults)


def test_each_fault_ends_in_its_error_class(faulty: FaultyRunResult, faults: dict[str, str]) -> None:
    assert list(faults.values()) == list(ERROR_CLASSES)
    failed = {
        name: segment.error_class for name, segment in faulty.segments.items() if segment.state == "failed"
    }
    assert failed == {name: ERROR_CLASSES[fault] for name, fault in faults.items()}
    for name in faults:
        segment = faulty.segments[name]
        assert segment.stage == "faulty"
        assert segment.error_text
        length_seconds = (segment.end_ms - segment.start_ms) / 1000
        assert segment.seconds_by_fate == {"failed": pytest.approx(length_seconds)}


def test_other_segments_are_unaffected(
    clean: FaultyRunResult, faulty: FaultyRunResult, faults: dict[str, str]
) -> None:
    def outcomes(result: FaultyRunResult) -> dict[str, tuple[str, int, dict[str, float]]]:
        return {
            name: (segment.state, segment.sample_count, segment.seconds_by_fate)
            for name, segment in result.segments.items()
            if name not in faults
        }

    assert outcomes(faulty) == outcomes(clean)
    assert {history.state for history in clean.histories.values()} == {"done"}
    states = {title: history.state for title, history in faulty.histories.items()}
    hit = {name.split()[0] for name in faults}
    assert states == {title: "partial" if title in hit else "done" for title in states}


def test_retries_come_after_other_segments(
    clean: FaultyRunResult, faulty: FaultyRunResult, faults: dict[str, str]
) -> None:
    """All innocent segments pass the stage before a faulty one is tried again.

    A segment that hangs therefore delays the others by one deadline at most, at any speed of the machine.
    """
    innocent = {name for name in clean.segments if name not in faults}
    log = faulty.log
    assert {name for event, name in log if event == FINISHED} == innocent
    last_first_pass = max(log.index((FINISHED, name)) for name in innocent)
    last_pass = max(place for place, (event, _) in enumerate(log) if event == FINISHED)
    for name, fault in faults.items():
        attempts = [place for place, entry in enumerate(log) if entry == (STARTED, name)]
        if fault in HANGING:
            assert len(attempts) == 2
            assert attempts[1] > last_pass, (name, fault, log)
        else:  # a death may be charged to the previous call, whose reply was lost with the worker
            assert all(place > last_first_pass for place in attempts[2:]), (name, fault, log)
