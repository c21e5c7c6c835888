from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mien.ingest.errors import Policy, StorageConflictError, StorageDeniedError, StorageFullError
from mien.ingest.storage import open_store

OTHER_FILE_SYSTEM = Path("/dev/shm")  # noqa: S108


@pytest.fixture
def elsewhere(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than `tmp_path`, from which links are impossible."""
    if not OTHER_FILE_SYSTEM.is_dir() or OTHER_FILE_SYSTEM.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("no second file system here")
    folder = OTHER_FILE_SYSTEM / f"mien-test-{os.getpid()}-{time.monotonic_ns()}"
    folder.mkdir()
    yield folder
    for path in folder.iterdir():
        path.unlink()
    folder.rmdir()


@pytest.fixture
def tiny_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "tiny"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", str(folder)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"cannot mount a tmpfs: {mounted.stderr.decode(errors='replace').strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_publish_links_within_one_file_system(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_bytes(b"x" * 1000)
    published = Path(open_store(str(tmp_path / "store")).publish(source, "name"))
    assert published.samefile(source)


def test_publish_copies_across_file_systems(tmp_path: Path, elsewhere: Path) -> None:
    source = elsewhere / "source"
    source.write_bytes(b"x" * 1000)
    published = Path(open_store(str(tmp_path / "store")).publish(source, "name"))
    assert published.read_bytes() == b"x" * 1000
    assert [path.name for path in published.parent.iterdir()] == ["name"]


def test_file_uris(tmp_path: Path) -> None:
    store = open_store(f"file://{tmp_path}/a%20b")
    assert store.publish_bytes(b"x", "name") == str(tmp_path / "a b" / "name")


def test_sweep_skips_recent_and_foreign_files(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    stray = tmp_path / ".run7-000001.tar.0123456789ab.tmp"
    others = [tmp_path / ".run8-000001.tar.0123456789ab.tmp", tmp_path / ".notes.tmp", tmp_path / "a.tmp"]
    for path in (stray, *others):
        path.touch()
    assert store.sweep("run7-") == 0
    assert store.sweep("run7-", older_than_seconds=0) == 1
    assert not stray.exists()
    assert all(path.exists() for path in others)


def test_full_disk_stops_the_run_and_leaves_nothing(tiny_disk: Path, tmp_path: Path) -> None:
    store = open_store(str(tiny_disk))
    store.check_writable()
    source = tmp_path / "source"
    source.write_bytes(bytes(1 << 20))
    ways: list[Callable[[], str]] = [
        lambda: store.publish(source, "big"),
        lambda: store.publish_bytes(bytes(1 << 20), "big"),
    ]
    for publish in ways:
        with pytest.raises(StorageFullError, match="No space left") as raised:
            publish()
        assert raised.value.policy is Policy.STOP
        assert "\n" not in str(raised.value)
    assert list(tiny_disk.iterdir()) == []
    store.publish_bytes(bytes(250_000), "most-of-it")
    with pytest.raises(StorageFullError):
        store.check_writable()


def test_unwritable_folder_is_reported_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "below"
    with pytest.raises(StorageDeniedError, match=str(place)):
        open_store(str(place)).check_writable()


@pytest.mark.slow
def test_two_writers_of_one_name(tmp_path: Path) -> None:
    """The loser of a race gets an error, and the winner's bytes stay."""
    store = open_store(str(tmp_path))
    program = (
        "import sys; from mien.ingest.storage import open_store;"
        "open_store(sys.argv[1]).publish_bytes(sys.argv[2].encode(), 'n')"
    )
    writers = [
        subprocess.Popen([sys.executable, "-c", program, str(tmp_path), text], stderr=subprocess.PIPE)
        for text in ("one", "two", "one", "two")
    ]
    errors = [writer.communicate()[1] for writer in writers]
    winner = store.read("n")
    assert winner in {b"one", b"two"}
    assert [writer.returncode for writer in writers].count(0) == 2
    assert sum(b"StorageConflictError" in text for text in errors) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["n"]


PUBLISHER = """
import resource, signal, sys
from pathlib import Path
from mien.ingest.storage import open_store
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)  # Python ignores this signal by default
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_FSIZE, (3 << 20, 3 << 20))
open_store(sys.argv[2]).publish(Path(sys.argv[1]), "shard.tar")
"""


@pytest.mark.slow
def test_kill_during_copy_publishes_nothing(tmp_path: Path, elsewhere: Path) -> None:
    """The kernel kills the process at a certain byte of the copy. As with SIGKILL, no cleanup runs."""
    source = elsewhere / "source"
    with source.open("wb") as file:
        file.truncate(8 << 20)
    folder = tmp_path / "store"
    writer = subprocess.run(
        [sys.executable, "-c", PUBLISHER, str(source), str(folder)], check=False, timeout=300
    )
    assert writer.returncode == -signal.SIGXFSZ
    assert [path.stat().st_size for path in folder.iterdir()] == [3 << 20]

    store = open_store(str(folder))
    assert store.list() == []
    assert not store.exists("shard.tar")
    assert store.sweep("shard", older_than_seconds=0) == 1
    assert list(folder.iterdir()) == []
    store.publish_bytes(b"the next try", "shard.tar")


def test_late_conflict_preserves_the_first_file(tmp_path: Path, elsewhere: Path) -> None:
    store = open_store(str(tmp_path / "store"))
    store.publish_bytes(b"first", "name")
    (elsewhere / "source").write_bytes(b"second")
    with pytest.raises(StorageConflictError):
        store.publish(elsewhere / "source", "name")
    assert store.read("name") == b"first"


def test_sweep_removes_abandoned_files_of_any_age(tmp_path: Path) -> None:
    store = open_store(str(tmp_path))
    names = [f".{run}-abc-00000.tar.0123456789ab.tmp" for run in ("dead", "alive")]
    for name in names:
        (tmp_path / name).touch()
    assert store.sweep(older_than_seconds=0, abandoned=lambda name: name.startswith("dead-")) == 1
    assert [path.name for path in tmp_path.iterdir()] == [names[1]]
