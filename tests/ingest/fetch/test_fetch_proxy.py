"""Plain HTTP through an egress identity: a server that is asked for whole addresses is a proxy."""

from __future__ import annotations

import base64
import socket
import traceback
from dataclasses import replace
from pathlib import Path

import pytest

from mien.ingest.errors import ConfigError, PrivateAddressError, ProxyError
from mien.ingest.rate.identity import Identity
from tests.ingest.fetch.conftest import job_of, make_fetch
from tests.ingest.fetch.server import LoopbackServer, Reply

URL = "http://media.example/film.mp4"
PASSWORD = "geheim-1234"  # noqa: S105


def through(server: LoopbackServer, name: str = "egress") -> Identity:
    return Identity(name, proxy=f"http://{name}:{PASSWORD}@127.0.0.1:{server.port}")


def test_a_plain_file_comes_through_the_granted_identity(
    tmp_path: Path, server: LoopbackServer, film: bytes
) -> None:
    server.pages[URL] = [Reply(body=film)]
    stage = make_fetch(
        tmp_path, identities=(Identity("direct"), through(server)), allow_private_addresses=False
    )
    (media,) = stage(replace(job_of(URL), identity="egress"))
    assert media.bytes == len(film)
    login = base64.b64encode(f"egress:{PASSWORD}".encode()).decode()
    assert server.requests[0].headers["proxy-authorization"] == f"Basic {login}"


def test_without_a_grant_the_first_identity_is_used(
    tmp_path: Path, server: LoopbackServer, film: bytes
) -> None:
    server.pages[URL] = [Reply(status=503), Reply(body=film)]
    stage = make_fetch(tmp_path, identities=(through(server, "one"), Identity("two")))
    (media,) = stage(job_of(URL))
    assert media.bytes == len(film)


def test_a_private_address_is_refused_through_a_proxy_too(tmp_path: Path, server: LoopbackServer) -> None:
    stage = make_fetch(tmp_path, identities=(through(server),), allow_private_addresses=False)
    with pytest.raises(PrivateAddressError):
        stage(job_of("http://10.0.0.7/film.mp4"))
    assert server.requests == []


def test_unreachable_proxy_hides_login(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]  # nobody listens, and nobody else gets it meanwhile
        identity = Identity("me", proxy=f"http://me:{PASSWORD}@127.0.0.1:{port}")
        stage = make_fetch(tmp_path, identities=(identity,), attempts=1)
        with pytest.raises(ProxyError) as raised:
            stage(job_of(URL))
    assert PASSWORD not in "".join(traceback.format_exception(raised.value))


def test_unknown_identity_is_refused(tmp_path: Path) -> None:
    stage = make_fetch(tmp_path, identities=(Identity("one"),))
    with pytest.raises(ConfigError, match=r"acquire\.identities"):
        stage(replace(job_of(URL), identity="gone"))
