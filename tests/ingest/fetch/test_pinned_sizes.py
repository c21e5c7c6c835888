"""The sizes of pinned files are always current, without examining every file each time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mien.ingest.fetch import pins
from tests.hypothesis_examples import examples
from tests.ingest.catalog.makers import Clock


class Counting(pins.Sizes):
    looks = 0

    def _size(self, note: str) -> int:
        self.looks += 1
        return super()._size(note)


def put(folder: Path, name: str, size: int) -> Path:
    path = folder / name
    path.write_bytes(bytes(size))
    pins.mark(path, name)
    return path


def end(path: Path) -> None:
    os.utime(pins.marker(path), (0, 0))


def settle(folder: Path) -> None:
    """As if nothing had changed for a while."""
    os.utime(folder, (time.time() - 10,) * 2)


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_only_new_files_are_examined(tmp_path: Path, clock: Clock) -> None:
    for number in range(50):
        put(tmp_path, f"film-{number}", 1)
    sizes = Counting(tmp_path, clock=clock)
    settle(tmp_path)
    assert [sum(sizes.now()) for _ in range(10)] == [50] * 10
    assert sizes.looks == 50
    put(tmp_path, "another", 7)
    assert (sum(sizes.now()), sizes.looks) == (57, 51)
    clock.sleep(pins.COUNT_SECONDS)
    assert (sum(sizes.now()), sizes.looks) == (57, 51 + 51)


def test_expired_pin_frees_room_at_next_count(tmp_path: Path, clock: Clock) -> None:
    path = put(tmp_path, "film", 5)
    sizes = pins.Sizes(tmp_path, clock=clock)
    settle(tmp_path)
    assert sizes.now() == [5]
    end(path)
    assert sizes.now() == [5]
    clock.sleep(pins.COUNT_SECONDS)
    assert sizes.now() == []
    pins.renew(path)
    assert sizes.now() == [5]


def test_replaced_file_gets_new_size_at_next_count(tmp_path: Path, clock: Clock) -> None:
    path = put(tmp_path, "film", 5)
    sizes = pins.Sizes(tmp_path, clock=clock)
    assert sizes.now() == [5]
    path.unlink()
    pins.marker(path).unlink()
    put(tmp_path, "film", 9)
    assert sizes.now() == [5], "see Sizes"
    clock.sleep(pins.COUNT_SECONDS)
    assert sizes.now() == [9]


def test_no_folder_and_no_file(tmp_path: Path, clock: Clock) -> None:
    sizes = pins.Sizes(tmp_path / "none", clock=clock)
    assert sizes.now() == []
    (tmp_path / "none").mkdir()
    put(tmp_path / "none", "film", 3).unlink()  # the marker is written first and removed last
    assert sizes.now() == []


STEPS = st.lists(st.tuples(st.sampled_from(["put", "end", "renew", "drop", "wait"]), st.integers(0, 3)))


@settings(max_examples=examples(60))
@given(STEPS)
def test_sum_covers_pinned_files(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[str, int]]
) -> None:
    folder, clock = tmp_path_factory.mktemp("cache"), Clock()
    sizes = pins.Sizes(folder, clock=clock)
    for what, number in steps:
        path = folder / f"film-{number}"
        if what == "put" and not path.exists():
            put(folder, path.name, number + 1)
        elif what == "end" and path.exists():
            end(path)
        elif what == "renew":
            pins.renew(path)
        elif what == "drop":
            path.unlink(missing_ok=True)
            pins.marker(path).unlink(missing_ok=True)
        elif what == "wait":
            clock.sleep(pins.COUNT_SECONDS)
            settle(folder)
        true = [each.stat().st_size for each in folder.glob("film-?") if pins.is_pinned(each)]
        assert sum(sizes.now()) >= sum(true)
        if what == "wait":
            assert sorted(sizes.now()) == sorted(true)
