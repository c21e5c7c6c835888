from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.ingest.errors import LoaderTimeoutError
from mien.ingest.storage.file_locks import is_at, locked, try_lock, wait_lock


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "file"
    path.touch()
    return path


@pytest.fixture
def descriptor(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR)
    yield descriptor
    os.close(descriptor)


def test_is_at_until_the_path_is_replaced(path: Path, descriptor: int) -> None:
    assert is_at(descriptor, path)
    path.rename(path.with_name("moved"))
    assert not is_at(descriptor, path)
    path.touch()
    assert not is_at(descriptor, path)
    assert is_at(descriptor, path.with_name("moved"))


def test_is_at_is_false_below_a_file(path: Path, descriptor: int) -> None:
    assert not is_at(descriptor, path / "below")


def test_is_at_raises_if_the_path_is_unreadable(path: Path, descriptor: int) -> None:
    with pytest.raises(OSError, match="File name too long"):
        is_at(descriptor, path.with_name("x" * 300))


def test_try_lock_distinguishes_shared_and_exclusive(path: Path, descriptor: int) -> None:
    other = os.open(path, os.O_RDWR)
    assert try_lock(descriptor, shared=True) is True
    assert try_lock(other, shared=True) is True
    assert try_lock(other) is False
    os.close(other)
    assert try_lock(descriptor) is True


def test_try_lock_is_none_without_lock_support(descriptor: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert try_lock(descriptor) is None
    wait_lock(descriptor, "never ends", timeout_seconds=0)


def test_wait_lock_times_out(path: Path, descriptor: int) -> None:
    with (
        locked(path, "tests", timeout_seconds=0),
        pytest.raises(LoaderTimeoutError, match="another process that tests"),
    ):
        wait_lock(descriptor, "tests", timeout_seconds=0)


def test_wait_lock_returns_when_no_longer_needed(path: Path, descriptor: int) -> None:
    with locked(path, "tests", timeout_seconds=0):
        wait_lock(descriptor, "tests", timeout_seconds=60, needed=lambda: False)
        assert try_lock(descriptor) is False
