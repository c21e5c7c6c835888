from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import pytest

from ingest.errors import (
    AccessDeniedError,
    EmptyFileError,
    FetchError,
    GoneError,
    IncompleteTransferError,
    MienError,
    NotMediaError,
    Policy,
    PrivateAddressError,
    RateLimitedError,
    RejectedRequestError,
    TooLargeError,
    TruncatedMediaError,
)
from ingest.fetch import Fetch
from ingest.fetch.http import HttpDownloader
from ingest.fetch.responses import retry_after_seconds
from ingest.fetch.slot import Slot
from tests.ingest.fetch.conftest import job_of, make_fetch
from tests.ingest.fetch.server import LoopbackServer, Reply

HTML = b"<!DOCTYPE html><html><body>Please prove that you are human</body></html>" * 20


def cached_files(stage: Fetch) -> list[str]:
    return sorted(path.name for path in stage.cache.folder.iterdir() if path.name != ".lock")


def failure(stage: Fetch, url: str) -> MienError:
    with pytest.raises(MienError) as raised:
        list(stage(job_of(url)))
    assert "\n" not in str(raised.value)
    assert cached_files(stage) == []
    return raised.value


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


def test_a_file_that_became_another_is_begun_anew(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [
        Reply(body=b"x" * len(film), headers={"ETag": '"old"'}, end_at=len(film) // 2),
        Reply(body=film, headers={"ETag": '"new"'}),
    ]
    (media,) = fetch(job_of(server.url("/f.mp4")))
    assert media.sha256 == hashlib.sha256(film).hexdigest()


def test_another_length_under_no_validator_is_begun_anew(
    fetch: Fetch, server: LoopbackServer, film: bytes
) -> None:
    server.pages["/f.mp4"] = [Reply(body=b"x" * (len(film) + 9), end_at=len(film) // 2), Reply(body=film)]
    (media,) = fetch(job_of(server.url("/f.mp4")))
    assert media.sha256 == hashlib.sha256(film).hexdigest()


def test_a_server_without_ranges(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, cut_at=len(film) // 2), Reply(body=film, ranges=False)]
    (media,) = fetch(job_of(server.url("/f.mp4")))
    assert media.sha256 == hashlib.sha256(film).hexdigest()


@pytest.mark.parametrize("end", [{"cut_at": 1000}, {"end_at": 1000}, {"announced": 10_000_000}])
def test_what_never_comes_whole_is_to_be_retried(
    fetch: Fetch, server: LoopbackServer, film: bytes, end: dict[str, int]
) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, ranges=False, **end)]  # type: ignore[arg-type]
    error = failure(fetch, server.url("/f.mp4"))
    assert isinstance(error, IncompleteTransferError)
    assert error.policy is Policy.RETRY
    assert len(server.requests) == 3


def test_without_a_length_an_early_end_is_the_transfers(
    fetch: Fetch, server: LoopbackServer, film: bytes
) -> None:
    server.pages["/f.mp4"] = [
        Reply(body=film, announced=None, end_at=len(film) * 3 // 4),
        Reply(body=film, announced=None),
    ]
    error = failure(fetch, server.url("/f.mp4"))
    assert isinstance(error, IncompleteTransferError)
    assert len(list(fetch(job_of(server.url("/f.mp4"))))) == 1


def test_with_a_length_a_cut_file_is_the_servers(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
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


def test_drops_end_in_a_retry(tmp_path: Path, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, piece_bytes=1, pause_seconds=0.02)]
    stage = make_fetch(tmp_path, timeout_seconds=0.3, attempts=1)
    assert "drops" in str(failure(stage, server.url("/f.mp4")))


def test_slow_but_steady_arrives(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, piece_bytes=max(1, len(film) // 10), pause_seconds=0.02)]
    assert len(list(fetch(job_of(server.url("/f.mp4"))))) == 1


@pytest.mark.parametrize("announced", [-1, None])
def test_too_large(tmp_path: Path, server: LoopbackServer, film: bytes, announced: int | None) -> None:
    server.pages["/f.mp4"] = [Reply(body=film, announced=announced)]
    stage = make_fetch(tmp_path, max_bytes=1000)
    assert isinstance(failure(stage, server.url("/f.mp4")), TooLargeError)
    assert len(server.requests) == 1


def test_nobody_listens(fetch: Fetch) -> None:
    assert isinstance(failure(fetch, "http://127.0.0.1:1/f.mp4"), FetchError)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "localhost", "[::1]", "2130706433", "0x7f.1", "[::ffff:127.0.0.1]"]
)
def test_private_hosts_are_refused(tmp_path: Path, server: LoopbackServer, film: bytes, host: str) -> None:
    server.pages["/f.mp4"] = [Reply(body=film)]
    stage = make_fetch(tmp_path, allow_private_addresses=False)
    error = failure(stage, server.url("/f.mp4", host))
    assert isinstance(error, PrivateAddressError | RejectedRequestError)
    assert error.policy is Policy.PERMANENT
    assert server.requests == []


def test_a_redirect_is_followed(fetch: Fetch, server: LoopbackServer, film: bytes) -> None:
    server.pages["/a"] = [Reply(status=302, headers={"Location": "/b"})]
    server.pages["/b"] = [Reply(status=307, headers={"Location": server.url("/f.mp4", "localhost")})]
    server.pages["/f.mp4"] = [Reply(body=film)]
    assert len(list(fetch(job_of(server.url("/a"))))) == 1
    assert server.requests[2].headers["host"] == f"localhost:{server.port}"


@pytest.mark.parametrize("target", ["/again", "file:///etc/passwd", "ftp://127.0.0.1/x", "http://"])
def test_redirects_that_lead_nowhere(fetch: Fetch, server: LoopbackServer, target: str) -> None:
    server.pages["/again"] = [Reply(status=302, headers={"Location": target})]
    assert isinstance(failure(fetch, server.url("/again")), RejectedRequestError)


class Names:
    """A name server: "public.example" is (as far as the check goes) public, and led to loopback."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.asked.append(host)
        return self.addresses[host.split(".", maxsplit=1)[0]]


def download(server_url: str, tmp_path: Path, **options: object) -> bytes:
    path = tmp_path / "slot"
    with path.open("wb") as file:
        slot = Slot(file.fileno(), lambda descriptor, size: None, 1 << 30)
        HttpDownloader(timeout_seconds=2, attempts=1, **options).download(server_url, slot)  # type: ignore[arg-type]
        slot.finish()
    return path.read_bytes()


def test_a_redirect_into_the_own_network_is_refused(
    tmp_path: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first host passes as public here, the second is what it is."""
    server.pages["/a"] = [Reply(status=302, headers={"Location": server.url("/inside", "inner.example")})]
    server.pages["/inside"] = [Reply(body=b"the operator's secrets")]
    names = Names(outer=["127.0.0.1"], inner=["10.0.0.7"])
    monkeypatch.setattr("ingest.fetch.addresses.is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(PrivateAddressError, match=r"inner\.example \(10\.0\.0\.7\)"):
        download(server.url("/a", "outer.example"), tmp_path, resolver=names)
    assert [request.path for request in server.requests] == ["/a"]


def test_one_private_address_among_several_is_enough(tmp_path: Path, server: LoopbackServer) -> None:
    names = Names(mixed=["93.184.216.34", "169.254.169.254"])
    with pytest.raises(PrivateAddressError, match=r"169\.254\.169\.254"):
        download(server.url("/a", "mixed.example"), tmp_path, resolver=names)


def test_a_name_is_asked_for_once_per_connection(tmp_path: Path, server: LoopbackServer) -> None:
    """What was checked is what is connected to: a second answer could be another."""
    server.pages["/a"] = [Reply(body=b"content")]
    names = Names(film=["127.0.0.1"])
    url = server.url("/a", "film.example")
    assert download(url, tmp_path, resolver=names, allow_private_addresses=True) == b"content"
    assert names.asked == ["film.example"]
    assert server.requests[0].headers["host"] == f"film.example:{server.port}"


def test_a_dead_address_gives_way_to_the_next(tmp_path: Path, server: LoopbackServer) -> None:
    server.pages["/a"] = [Reply(body=b"content")]
    names = Names(film=["127.0.0.99", "127.0.0.1"])
    url = server.url("/a", "film.example")
    assert download(url, tmp_path, resolver=names, allow_private_addresses=True) == b"content"


def test_a_certificate_is_checked_against_the_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    command = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-nodes",
        "-days",
        "2",
        "-subj",
        "/CN=film.example",
    ]
    command += ["-addext", "subjectAltName=DNS:film.example", "-keyout", str(key), "-out", str(certificate)]
    try:
        subprocess.run(command, check=True, capture_output=True)
    except (FileNotFoundError, subprocess.CalledProcessError) as error:
        pytest.skip(f"no usable openssl: {error}")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    names = Names(film=["127.0.0.1"], other=["127.0.0.1"])
    with LoopbackServer(tls=context) as server:
        server.pages["/a"] = [Reply(body=b"content")]
        options = {"resolver": names, "allow_private_addresses": True}
        assert download(server.url("/a", "film.example"), tmp_path, **options) == b"content"
        with pytest.raises(FetchError, match="CERTIFICATE_VERIFY_FAILED"):
            download(server.url("/a", "other.example"), tmp_path, **options)


FETCHER = """
import sys
from ingest.fetch import Fetch
from ingest.media import Job, VideoRef
stage = Fetch(cache_dir=sys.argv[1], allow_private_addresses=True)
stage.setup()
print("ready", flush=True)
sys.stdin.readline()
(media,) = stage(Job(video=VideoRef(source="http", id="x", uri=sys.argv[2])))
print(media.sha256)
"""


def test_two_processes_that_want_the_same_film(tmp_path: Path, server: LoopbackServer, film: bytes) -> None:
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
