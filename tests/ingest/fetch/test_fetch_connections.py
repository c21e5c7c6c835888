"""Connections are reused only for the same name, and the cache is not counted for each file."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from httpcore._backends.sync import SyncStream

from mien.ingest.fetch import Fetch, MediaCache
from mien.ingest.fetch.cache import COUNT_SECONDS
from mien.ingest.fetch.fetchers import HttpFetcher
from mien.ingest.fetch.http import MAX_CLIENTS, READ_BYTES, HttpDownloader
from mien.ingest.fetch.partial_file import PartialFile
from tests.ingest.fetch.conftest import job_of, make_fetch
from tests.ingest.fetch.server import LoopbackServer, Reply


class CountingServer(LoopbackServer):
    """Knows how many connections came."""

    def __init__(self) -> None:
        super().__init__()
        self.connections = 0
        accept = self._server.get_request

        def get_request() -> object:
            self.connections += 1
            return accept()

        self._server.get_request = get_request  # type: ignore[method-assign, assignment]


@pytest.fixture
def counting(film: bytes) -> Iterator[CountingServer]:
    with CountingServer() as server:
        server.pages = {f"/{number}.mp4": [Reply(body=film)] for number in range(4)}
        yield server


def http_of(fetch: Fetch) -> HttpDownloader:
    fetcher = fetch._fetchers.fetcher_for(job_of("http://any.example/"), is_retained=False)
    assert isinstance(fetcher, HttpFetcher)
    return fetcher.downloader


def named(fetch: Fetch) -> Fetch:
    """Every name leads to this machine."""
    http_of(fetch).resolver = lambda host, port: ["127.0.0.1"]
    return fetch


def test_reads_are_large(counting: CountingServer, fetch: Fetch, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    read = SyncStream.read

    def watched(stream: SyncStream, max_bytes: int, timeout: float | None = None) -> bytes:
        asked.append(max_bytes)
        return read(stream, max_bytes, timeout)

    monkeypatch.setattr(SyncStream, "read", watched)
    list(fetch(job_of(counting.url("/0.mp4"))))
    assert set(asked) == {READ_BYTES}, "httpcore has another switch for it now"


def test_files_of_one_host_share_a_connection(counting: CountingServer, fetch: Fetch) -> None:
    for number in range(4):
        list(fetch(job_of(counting.url(f"/{number}.mp4"))))
    assert counting.connections == 1


def test_names_do_not_share_a_connection(counting: CountingServer, fetch: Fetch) -> None:
    for number, host in enumerate(("one.example", "two.example", "one.example", "two.example")):
        list(named(fetch)(job_of(counting.url(f"/{number}.mp4", host=host))))
    assert counting.connections == 2
    assert [request.headers["host"].split(":")[0] for request in counting.requests] == [
        "one.example",
        "two.example",
        "one.example",
        "two.example",
    ]


def test_open_connections_are_limited(counting: CountingServer, fetch: Fetch) -> None:
    stage = named(fetch)
    for number in range(MAX_CLIENTS + 3):
        list(stage(job_of(counting.url("/0.mp4", host=f"host{number}.example"))))
    assert len(http_of(stage)._of_thread.clients) == MAX_CLIENTS


def test_closed_connection_is_reopened(counting: CountingServer, tmp_path: Path) -> None:
    film = counting.pages["/0.mp4"][0].body
    counting.pages["/0.mp4"] = [Reply(body=film, announced=None)]  # it closes behind each answer
    counting.pages["/1.mp4"] = [Reply(body=film)]
    fetch = make_fetch(tmp_path, attempts=1)
    for name in ("/0.mp4", "/1.mp4"):
        assert list(fetch(job_of(counting.url(name))))


class CountedCache(MediaCache):
    counts = 0

    def used_bytes(self) -> int:
        self.counts += 1
        return super().used_bytes()


def filled(cache: MediaCache, name: str, size: int) -> None:
    def download(partial: PartialFile) -> None:
        partial.reserve(size)
        partial.write(bytes(size))

    with cache.obtain(name, "", download):
        pass


def test_cache_is_counted_once_with_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now)
    cache = CountedCache(tmp_path, 10_000, grace_seconds=0.0)
    for number in range(9):
        filled(cache, str(number), 1000)
    assert cache.counts == 1
    other = CountedCache(tmp_path, 10_000, grace_seconds=0.0)
    filled(other, "of another process", 1000)
    assert other.counts == 0
    assert cache.used_bytes() == 10_000


def test_cache_is_recounted_when_full_or_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = CountedCache(tmp_path, 10_000, grace_seconds=0.0)
    filled(cache, "a", 6000)
    assert cache.release(cache.path_of("a"))
    filled(cache, "b", 6000)  # the bound has not heard of the release
    assert (cache.counts, cache.used_bytes()) == (2, 6000)
    now = time.time() + COUNT_SECONDS
    monkeypatch.setattr("time.time", lambda: now)
    before = cache.counts
    filled(cache, "c", 100)
    assert cache.counts == before + 1
