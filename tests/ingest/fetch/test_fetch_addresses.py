"""Only public hosts are requested, and certificates are checked."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path

import pytest

from mien.ingest.errors import FetchError, Policy, PrivateAddressError, RejectedRequestError
from mien.ingest.fetch import Fetch
from mien.ingest.fetch.http import HttpDownloader
from mien.ingest.fetch.partial_file import PartialFile
from tests.ingest.fetch.conftest import failure, job_of, make_fetch
from tests.ingest.fetch.server import LoopbackServer, Reply


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
def test_broken_redirects_are_refused(fetch: Fetch, server: LoopbackServer, target: str) -> None:
    server.pages["/again"] = [Reply(status=302, headers={"Location": target})]
    assert isinstance(failure(fetch, server.url("/again")), RejectedRequestError)


class Names:
    """A resolver that returns the given addresses by the first label of the host."""

    def __init__(self, **addresses: list[str]) -> None:
        self.addresses = addresses
        self.resolved: list[str] = []

    def __call__(self, host: str, port: int) -> list[str]:
        self.resolved.append(host)
        return self.addresses[host.split(".", maxsplit=1)[0]]


def download(server_url: str, tmp_path: Path, **options: object) -> bytes:
    path = tmp_path / "partial"
    with path.open("wb") as file:
        partial = PartialFile(file.fileno(), lambda descriptor, size: None, 1 << 30)
        HttpDownloader(timeout_seconds=60, attempts=1, **options).download(server_url, partial)  # type: ignore[arg-type]
        partial.finish()
    return path.read_bytes()


def test_redirect_to_private_network_is_refused(
    tmp_path: Path, server: LoopbackServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Here the first host counts as public, the second does not."""
    server.pages["/a"] = [Reply(status=302, headers={"Location": server.url("/inside", "inner.example")})]
    server.pages["/inside"] = [Reply(body=b"the operator's secrets")]
    names = Names(outer=["127.0.0.1"], inner=["10.0.0.7"])
    monkeypatch.setattr("mien.ingest.fetch.addresses.is_public", lambda address: address == "127.0.0.1")
    with pytest.raises(PrivateAddressError, match=r"inner\.example \(10\.0\.0\.7\)"):
        download(server.url("/a", "outer.example"), tmp_path, resolver=names)
    assert [request.path for request in server.requests] == ["/a"]


def test_any_private_address_is_refused(tmp_path: Path, server: LoopbackServer) -> None:
    names = Names(mixed=["93.184.216.34", "169.254.169.254"])
    with pytest.raises(PrivateAddressError, match=r"169\.254\.169\.254"):
        download(server.url("/a", "mixed.example"), tmp_path, resolver=names)


def test_name_is_resolved_once_per_connection(tmp_path: Path, server: LoopbackServer) -> None:
    """The connection uses the checked address, since a second lookup could return another one."""
    server.pages["/a"] = [Reply(body=b"content")]
    names = Names(film=["127.0.0.1"])
    url = server.url("/a", "film.example")
    assert download(url, tmp_path, resolver=names, allow_private_addresses=True) == b"content"
    assert names.resolved == ["film.example"]
    assert server.requests[0].headers["host"] == f"film.example:{server.port}"


def test_next_address_after_a_dead_one(tmp_path: Path, server: LoopbackServer) -> None:
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


def test_proxy_resolves_names(
    tmp_path: Path, server: LoopbackServer, film: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy resolves names and may itself have a private address."""
    for name in ("http_proxy", "HTTP_PROXY"):
        monkeypatch.setenv(name, server.url(""))
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.setenv(name, "")
    server.pages["http://film.example/f.mp4"] = [Reply(body=film)]
    stage = make_fetch(tmp_path, allow_private_addresses=False)
    assert len(list(stage(job_of("http://film.example/f.mp4")))) == 1
    stage.cache.discard(stage.cache.path_of("http://film.example/f.mp4", ".mp4"))
    assert isinstance(failure(stage, "http://169.254.169.254/f.mp4"), PrivateAddressError)
    assert len(server.requests) == 1
