from __future__ import annotations

import hashlib
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from itertools import count
from pathlib import Path
from types import SimpleNamespace

import pytest

from mien.ingest.errors import (
    AccessDeniedError,
    EmptyFileError,
    FetchError,
    GoneError,
    IncompleteTransferError,
    MienError,
    NotMediaError,
    Policy,
    RateLimitedError,
    RejectedRequestError,
    TooLargeError,
    TruncatedMediaError,
)
from mien.ingest.fetch import Fetch
from mien.ingest.fetch.responses import retry_after_seconds
from tests.ingest.fetch.conftest import cached_files, failure, job_of, make_fetch
from tests.ingest.fetch.server import LoopbackServer, Reply

HTML = b"<!DOCTYPE html><html><body>Please prove that you are human</body></html>" * 20


def test_a_film_is_fetched_once(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/a/film.mp4"] = [Reply(body=film)]
    url = server.url("/a/film.mp4?token=secret")
    (media,) = fetch(job_of(url))
    assert media.sha256 == hashlib.sha256(film).hexdigest()
    assert media.bytes == len(film) == Path(media.path).stat().st_size
    assert media.path.endswith(".mp4")
    assert fetch(job_of(url)) == [media]
    assert len(server.requests) == 1
    assert server.requests[0].headers["accept-encoding"] == "identity"
    fetch.release(media)
    assert cached_files(fetch) == []


def test_429_then_ok_waits_as_asked(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [
        Reply(status=429, headers={"Retry-After": "0"}),
        Reply(status=503, headers={"Retry-After": format_datetime(datetime.now(UTC), usegmt=True)}),
        Reply(body=film),
    ]
    assert len(list(fetch(job_of(server.url("/f.mp4"))))) == 1
    assert len(server.requests) == 3


def test_a_long_pause_is_left_to_the_catalog(fetch: Fetch, server: LoopbackServer) -> None:
    server.pages["/f.mp4"] = [Reply(status=429, headers={"Retry-After": "3600"})]
    error = failure(fetch, server.url("/f.mp4"))
    assert isinstance(error, RateLimitedError)
    assert error.policy is Policy.RETRY
    assert error.retry_after_seconds == 3600
    assert len(server.requests) == 1


def test_retry_after_in_both_forms() -> None:
    assert retry_after_seconds("17") == 17
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(hours=1), usegmt=True)
    assert 3500 < (retry_after_seconds(in_an_hour) or 0) <= 3600
    assert retry_after_seconds("Sun, 06 Nov 1994 08:49:37 GMT") == 0
    assert retry_after_seconds("soon") is None


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (404, (GoneError, Policy.PERMANENT, 1)),
        (410, (GoneError, Policy.PERMANENT, 1)),
        (401, (AccessDeniedError, Policy.PERMANENT, 1)),
        (403, (AccessDeniedError, Policy.PERMANENT, 1)),
        (400, (RejectedRequestError, Policy.PERMANENT, 1)),
        (302, (RejectedRequestError, Policy.PERMANENT, 1)),
        (500, (FetchError, Policy.RETRY, 3)),
        (429, (RateLimitedError, Policy.RETRY, 3)),
    ],
)
def test_what_a_status_means(
    fetch: Fetch, server: LoopbackServer, status: int, expected: tuple[type[MienError], Policy, int]
) -> None:
    kind, policy, requests = expected
    server.pages["/f.mp4"] = [Reply(status=status, headers={"Retry-After": "0"})]
    error = failure(fetch, server.url("/f.mp4?token=hunter2"))
    assert type(error) is kind
    assert error.policy is policy
    assert str(status) in str(error)
    assert "hunter2" not in str(error)
    assert len(server.requests) == requests


@pytest.mark.parametrize(
    "validator", [{"ETag": '"v1"'}, {"Last-Modified": "Sun, 06 Nov 1994 08:49:37 GMT"}, {}]
)
def test_a_reset_in_the_middle_is_resumed(
    fetch: Fetch, server: LoopbackServer, film: bytes, validator: dict[str, str]
) -> None:
    half = len(film) // 2
    server.pages["/f.mp4"] = [
        Reply(body=film, headers=validator, end_at=half),
        Reply(body=film, headers=validator),
    ]
    (media,) = fetch(job_of(server.url("/f.mp4")))
    assert media.sha256 == hashlib.sha256(film).hexdigest()
    assert server.requests[1].headers["range"] == f"bytes={half}-"
    assert server.requests[1].headers.get("if-range") == next(iter(validator.values()), None)


def test_replaced_file_starts_over(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [
        Reply(body=b"x" * len(film), headers={"ETag": '"old"'}, end_at=len(film) // 2),
        Reply(body=film, headers={"ETag": '"new"'}),
    ]
    (media,) = fetch(job_of(server.url("/f.mp4")))
    assert media.sha256 == hashlib.sha256(film).hexdigest()


def test_other_length_starts_over(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=b"x" * (len(film) + 9), end_at=len(film) // 2), Reply(body=film)]
    (media,) = fetch(job_of(server.url("/f.mp4")))
    assert media.sha256 == hashlib.sha256(film).hexdigest()


def test_a_server_without_ranges(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, cut_at=len(film) // 2), Reply(body=film, ranges=False)]
    (media,) = fetch(job_of(server.url("/f.mp4")))
    assert media.sha256 == hashlib.sha256(film).hexdigest()


@pytest.mark.slow
@pytest.mark.parametrize("end", [{"cut_at": 1000}, {"end_at": 1000}, {"announced": 10_000_000}])
def test_incomplete_transfer_is_retried(
    fetch: Fetch, server: LoopbackServer, film: bytes, end: dict[str, int]
) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, ranges=False, **end)]  # type: ignore[arg-type]
    error = failure(fetch, server.url("/f.mp4"))
    assert isinstance(error, IncompleteTransferError)
    assert error.policy is Policy.RETRY
    assert len(server.requests) == 3


def test_early_end_without_length_is_transfer_error(
    fetch: Fetch, server: LoopbackServer, film: bytes
) -> None:
    server.pages["/f.mp4"] = [
        Reply(body=film, announced=None, end_at=len(film) * 3 // 4),
        Reply(body=film, announced=None),
    ]
    error = failure(fetch, server.url("/f.mp4"))
    assert isinstance(error, IncompleteTransferError)
    assert len(list(fetch(job_of(server.url("/f.mp4"))))) == 1


def test_cut_file_with_length_is_media_error(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=film[: len(film) * 3 // 4])]
    error = failure(fetch, server.url("/f.mp4"))
    assert isinstance(error, TruncatedMediaError)
    assert error.policy is Policy.PERMANENT


def test_a_page_in_place_of_media(fetch: Fetch, server: LoopbackServer) -> None:
    server.pages["/f.mp4"] = [Reply(body=HTML, headers={"Content-Type": "text/html"})]
    assert isinstance(failure(fetch, server.url("/f.mp4")), NotMediaError)


def test_nothing_in_place_of_media(fetch: Fetch, server: LoopbackServer) -> None:
    server.pages["/f.mp4"] = [Reply(body=b"")]
    assert isinstance(failure(fetch, server.url("/f.mp4")), EmptyFileError)


def test_silence_ends_in_a_retry(tmp_path: Path, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, piece_bytes=1000, pause_seconds=3)]
    stage = make_fetch(tmp_path, timeout_seconds=0.2, attempts=1)
    assert isinstance(failure(stage, server.url("/f.mp4")), IncompleteTransferError)


def test_drops_end_in_a_retry(
    tmp_path: Path, server: LoopbackServer, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten seconds pass with each drop; silence would be something else."""
    server.pages["/f.mp4"] = [Reply(body=film, piece_bytes=1, pause_seconds=0.02)]
    monkeypatch.setattr("mien.ingest.fetch.http.time", SimpleNamespace(monotonic=count(0, 10).__next__))
    stage = make_fetch(tmp_path, attempts=1)
    assert "too slow" in str(failure(stage, server.url("/f.mp4")))


def test_slow_but_steady_arrives(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, piece_bytes=max(1, len(film) // 10), pause_seconds=0.02)]
    assert len(list(fetch(job_of(server.url("/f.mp4"))))) == 1


@pytest.mark.parametrize("announced", [-1, None])
def test_too_large(tmp_path: Path, server: LoopbackServer, film: bytes, announced: int | None) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, announced=announced)]
    stage = make_fetch(tmp_path, max_bytes=1000)
    assert isinstance(failure(stage, server.url("/f.mp4")), TooLargeError)
    assert len(server.requests) == 1


def test_refused_connection(fetch: Fetch) -> None:
    assert isinstance(failure(fetch, "http://127.0.0.1:1/f.mp4"), FetchError)


FETCHER = """
import sys
from mien.ingest.fetch import Fetch
from mien.ingest.media import Job, VideoRef
stage = Fetch(cache_dir=sys.argv[1], allow_private_addresses=True)
stage.open()
print("ready", flush=True)
sys.stdin.readline()
(media,) = stage(Job(video=VideoRef(source="http", id="x", uri=sys.argv[2])))
print(media.sha256)
"""


@pytest.mark.slow
def test_two_processes_fetch_a_film_once(tmp_path: Path, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, piece_bytes=max(1, len(film) // 10), pause_seconds=0.1)]
    command = [sys.executable, "-c", FETCHER, str(tmp_path / "cache"), server.url("/f.mp4")]
    processes = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(2)
    ]
    for process in processes:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    outputs = [process.communicate()[0] for process in processes]
    assert outputs == [hashlib.sha256(film).hexdigest() + "\n"] * 2
    assert len(server.requests) == 1
