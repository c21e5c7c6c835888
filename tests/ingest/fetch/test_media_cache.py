from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from uuid import uuid4

import pytest

from mien.ingest.errors import (
    CacheFullError,
    FetchError,
    GoneError,
    NotAFileError,
    StorageError,
    TooLargeError,
)
from mien.ingest.fetch import Fetch, MediaCache, pins
from mien.ingest.fetch.partial_file import PartialFile
from mien.ingest.sources import expand
from mien.ingest.storage import open_store
from tests.ingest.fetch.conftest import job_of, make_fetch
from tests.s3 import S3Server

KB = 1000


def fill(cache: MediaCache, name: str, size: int = 100 * KB) -> Path:
    with cache.obtain(name, "", lambda file: file.write(bytes([1]) * size)) as path:
        return path


def age(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, path.stat().st_mtime))


def small(tmp_path: Path, grace_seconds: float = 0.0) -> MediaCache:
    return MediaCache(tmp_path / "cache", 350 * KB, grace_seconds=grace_seconds)


def test_the_least_recently_used_goes_first(tmp_path: Path) -> None:
    cache = small(tmp_path)
    a, b, c = (fill(cache, name) for name in "abc")
    for path, seconds in ((a, 30), (b, 20), (c, 10)):
        age(path, seconds)
    fill(cache, "a")
    d = fill(cache, "d")
    assert [path.exists() for path in (a, b, c, d)] == [True, False, True, True]
    assert cache.used_bytes() <= cache.max_bytes


def test_what_is_held_stays(tmp_path: Path) -> None:
    cache = small(tmp_path)
    a, b, c = (fill(cache, name) for name in "abc")
    with cache.hold(a) as held, cache.hold(b), cache.hold(c):
        assert held
        with pytest.raises(StorageError, match="full of files in use"):
            fill(cache, "d")
    assert all(path.exists() for path in (a, b, c))
    fill(cache, "d")
    assert not a.exists()
    with cache.hold(a) as held:
        assert not held


def test_recent_file_stays(tmp_path: Path) -> None:
    cache = small(tmp_path, grace_seconds=3600)
    for name in "abc":
        fill(cache, name)
    with pytest.raises(StorageError):
        fill(cache, "d")
    age(cache.path_of("b"), 3601)
    fill(cache, "d")
    assert not cache.path_of("b").exists()


def want(cache: MediaCache, name: str) -> Path:
    download = lambda file: file.write(bytes(100 * KB))  # noqa: E731
    with cache.obtain(name, "", download, pinned_by=f"http-{name}") as path:
        return path


def test_pinned_file_is_not_evicted(tmp_path: Path) -> None:
    cache = small(tmp_path)
    a, b, c = (want(cache, name) for name in "abc")
    for path in (a, b, c):
        age(path, 1e6)
    cache = small(tmp_path)  # another process, later
    with pytest.raises(CacheFullError, match="full of files in use"):
        fill(cache, "d")
    assert dict(pins.marked(cache.folder)) == {"http-a": a, "http-b": b, "http-c": c}
    assert cache.release(b)
    fill(cache, "d")
    assert [path.exists() for path in (a, b, c)] == [True, False, True]
    assert set(dict(pins.marked(cache.folder))) == {"http-a", "http-c"}


def test_pin_expires(tmp_path: Path) -> None:
    cache = small(tmp_path)
    a, b, c = (want(cache, name) for name in "abc")
    for path in (a, b, c):
        age(path, 1e6)
        age_wholly(pins.marker(path), pins.LASTS_SECONDS + 1)
    pins.renew(a)
    assert pins.Sizes(cache.folder).now() == [100 * KB], "the room of the others is available"
    fill(cache, "d")
    assert a.exists()
    assert b.exists() != c.exists()


def test_reading_renews_pin(tmp_path: Path) -> None:
    """On a machine without a driver nobody else does."""
    cache = small(tmp_path)
    a, b = want(cache, "a"), want(cache, "b")
    for path in (a, b):
        age_wholly(pins.marker(path), pins.LASTS_SECONDS + 1)
    fill(cache, "a")  # it is there: read, not written
    assert [pins.is_pinned(path) for path in (a, b)] == [True, False]
    plain = fill(cache, "plain")
    fill(cache, "plain")
    assert not pins.marker(plain).exists(), "reading alone asks for nothing"


def age_wholly(path: Path, seconds: float) -> None:
    moment = time.time() - seconds
    os.utime(path, (moment, moment))


def test_unwritable_pin_holds_no_file(tmp_path: Path) -> None:
    cache = small(tmp_path)
    marker = pins.marker(fill(cache, "a"))
    marker.mkdir()
    with pytest.raises(StorageError, match="caching in"):
        want(cache, "a")
    marker.rmdir()
    assert cache.release(cache.path_of("a"))
    assert not cache.path_of("a").exists()


def test_stray_pin_is_swept(tmp_path: Path) -> None:
    cache = small(tmp_path)
    path = want(cache, "a")
    path.unlink()
    assert pins.marker(path).exists()
    small(tmp_path)
    assert not pins.marker(path).exists()


def test_a_file_larger_than_the_cache(tmp_path: Path) -> None:
    cache = small(tmp_path)
    a = fill(cache, "a")
    with pytest.raises(TooLargeError, match="cache_max_bytes"):
        fill(cache, "b", 400 * KB)
    assert a.exists()
    assert len(list(cache.folder.iterdir())) == 2


def test_room_is_reserved_before_it_is_filled(tmp_path: Path) -> None:
    cache = small(tmp_path)

    def download(partial: PartialFile) -> None:
        partial.reserve(300 * KB)
        with pytest.raises(StorageError, match="full"):
            fill(cache, "other")
        partial.write(b"only this")

    with cache.obtain("a", ".mp4", download) as path:
        assert path.read_bytes() == b"only this"


def test_a_failed_download_leaves_nothing(tmp_path: Path) -> None:
    cache = small(tmp_path)

    def download(partial: PartialFile) -> None:
        partial.write(b"half of it")
        raise FetchError("the download failed")

    with pytest.raises(FetchError), cache.obtain("a", "", download):
        pass
    assert cache.used_bytes() == 0
    fill(cache, "a")


def test_release_spares_held_files(tmp_path: Path) -> None:
    cache = small(tmp_path)
    a = fill(cache, "a")
    with cache.hold(a):
        assert not cache.release(a)
        assert a.exists()
    assert cache.release(a)
    assert not a.exists()
    assert cache.release(a)


WRITER = """
import sys, time
from pathlib import Path
from mien.ingest.fetch import MediaCache
def download(partial):
    partial.write(b"x" * 50_000)
    print("writing", flush=True)
    time.sleep(600)
with MediaCache(Path(sys.argv[1]), 350_000, grace_seconds=0).obtain("a", "", download):
    pass
"""


@pytest.mark.slow
def test_killed_writer_is_replaced(tmp_path: Path) -> None:
    folder = tmp_path / "cache"
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(folder)], stdout=subprocess.PIPE)
    assert writer.stdout is not None
    writer.stdout.readline()
    cache = small(tmp_path)
    (part,) = folder.glob("*.part")
    assert cache.sweep() == 0, "it is being written"
    writer.send_signal(signal.SIGKILL)
    writer.communicate()
    assert part.exists()
    assert fill(cache, "a").stat().st_size == 100 * KB
    assert not part.exists()


def test_leftovers_of_killed_writer_are_swept(tmp_path: Path) -> None:
    cache = small(tmp_path)
    (cache.folder / "abc.part").write_bytes(bytes(300 * KB))
    a = fill(cache, "a")
    assert not (cache.folder / "abc.part").exists(), "its room was needed"
    (cache.folder / "abc.part").write_bytes(b"x")
    small(tmp_path)
    assert [path.name for path in cache.folder.iterdir() if path.name != ".lock"] == [a.name]


CROWD = """
import random, sys
from pathlib import Path
from mien.ingest.errors import StorageError
from mien.ingest.fetch import MediaCache
rng = random.Random(int(sys.argv[2]))
cache = MediaCache(Path(sys.argv[1]), 1_000_000, grace_seconds=0)
for _ in range(150):
    name = str(rng.randrange(30))
    try:
        with cache.obtain(name, "", lambda file: file.write(name.encode().ljust(100_000, b"."))) as path:
            content = path.read_bytes()
            assert content == name.encode().ljust(100_000, b"."), (name, len(content))
            with cache._locked():  # or what is evicted and what is fetched meanwhile are both counted
                assert cache.used_bytes() <= 1_000_000
    except StorageError as error:
        assert "full of files in use" in str(error)
"""


@pytest.mark.slow
def test_a_crowd_of_processes(tmp_path: Path) -> None:
    crowd = [
        subprocess.Popen(
            [sys.executable, "-c", CROWD, str(tmp_path), str(seed)], stderr=subprocess.PIPE, text=True
        )
        for seed in range(4)
    ]
    assert [process.communicate()[1] for process in crowd] == [""] * 4
    cache = MediaCache(tmp_path, 1_000_000)
    assert cache.used_bytes() <= cache.max_bytes
    assert not list(tmp_path.glob("*.part"))


def test_an_evicted_film_is_fetched_again(
    s3_server: S3Server, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, film_path: Path, film: bytes
) -> None:
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    bucket = f"media-{uuid4().hex[:12]}"
    s3_server.create_bucket(bucket)
    open_store(f"s3://{bucket}/films").publish(film_path, "film.mp4")
    open_store(f"s3://{bucket}/films").publish_bytes(b"", "empty.mp4")
    stage = make_fetch(tmp_path)

    film_ref, empty_ref = sorted(expand(f"s3://{bucket}/films/"), key=lambda ref: ref.title, reverse=True)
    (media,) = stage(job_of(film_ref.uri))
    assert Path(media.path).read_bytes() == film
    with stage.local_copy(media) as path:
        assert path == media.path
    stage.release(media)
    assert not Path(media.path).exists()
    with stage.local_copy(media) as path:
        assert Path(path).read_bytes() == film

    for uri, kind in (
        (f"s3://{bucket}/films/nothing.mp4", GoneError),
        (f"s3://{bucket}/films", NotAFileError),
    ):
        with pytest.raises(kind):
            stage(job_of(uri))
    with pytest.raises(Exception, match="no bytes"):
        stage(job_of(empty_ref.uri))


def test_a_cache_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="media cache"):
        _ = Fetch(cache_dir=str(tmp_path / "file" / "cache")).cache
