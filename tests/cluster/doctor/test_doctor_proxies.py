"""A proxy is checked only if a waiting video uses it."""

from __future__ import annotations

import itertools
import socket

import httpx
import pytest

from mien.cluster.doctor import Check, CheckStatus, examine
from mien.cluster.doctor.acquisition import check_acquisition
from mien.cluster.doctor.proxies import _variables
from mien.ingest.fetch.http import _environment_proxy
from mien.ingest.rate.identity import Identity
from tests.cluster.doctor.doctor_checks import (
    PASSWORD,
    TUBE,
    closed_port,
    outcomes,
    refused,
    settings,
    waiting,
)
from tests.youtube import YouTubeDouble

NONE = Check.ok("environment proxies", "not used by any waiting video")
PLAIN = "http://media.example/film.mp4"


def test_proxy_accepts_login() -> None:
    with YouTubeDouble([], password=PASSWORD) as youtube:
        (found,) = outcomes("proxies", settings(Identity("me", proxy=youtube.proxy_of("me"))))
    assert found == Check.ok("proxy me", f"http://127.0.0.1:{youtube.port} answers")


def test_proxy_rejects_login() -> None:
    with YouTubeDouble([], password="another") as youtube:  # noqa: S106
        of = settings(Identity("me", proxy=f"http://me:{PASSWORD}@127.0.0.1:{youtube.port}"))
        assert "407" in refused(of)


@pytest.mark.parametrize("scheme", ["http", "socks5", "https"])
def test_unreachable_proxy(scheme: str) -> None:
    port = closed_port()
    text = refused(settings(Identity("me", proxy=f"{scheme}://me:{PASSWORD}@127.0.0.1:{port}")))
    assert f"{scheme}://127.0.0.1:{port} does not work" in text
    assert "correct the proxy of identity me" in text


def test_unsupported_proxy_scheme() -> None:
    assert "unsupported proxy scheme" in refused(settings(Identity("me", proxy="gopher://127.0.0.1:70")))


@pytest.mark.parametrize("where", ["identity", "http_proxy", "ALL_PROXY"])
def test_plain_files_with_unreachable_proxy(where: str, monkeypatch: pytest.MonkeyPatch) -> None:
    port = closed_port()
    address = f"http://me:{PASSWORD}@127.0.0.1:{port}"
    if where != "identity":
        monkeypatch.setenv(where, address)
    of = settings(Identity("me", proxy=address if where == "identity" else ""))
    waiting(of, PLAIN)
    output = refused(of, source="http")
    assert f"http://127.0.0.1:{port} does not work" in output
    assert ("of identity me" if where == "identity" else f"correct or unset {where}") in output
    check_acquisition(of, {"object", "file"})
    found = [check for check in examine(of) if "does not work" in check.message]
    assert [check.status for check in found] == [CheckStatus.FAIL], "of the doctor, once"


def test_plain_file_proxy_needs_no_tunnel() -> None:
    with socket.create_server(("127.0.0.1", 0)) as mute:
        port = mute.getsockname()[1]
        check_acquisition(settings(Identity("me", proxy=f"http://127.0.0.1:{port}")), {"http"})


def test_no_proxy_host_is_not_checked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{closed_port()}")
    monkeypatch.setenv("NO_PROXY", "localhost, .media.example")
    of = settings()
    waiting(of, PLAIN, "http://a.media.example:8080/b.mp4", "https://other.example/film.mp4")
    check_acquisition(of, {"http"})
    assert outcomes("environment proxies", of) == [NONE]
    waiting(of, "http://amedia.example/film.mp4")
    assert "does not work" in refused(of, source="http")


def test_unused_proxy_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", f"http://127.0.0.1:{closed_port()}")
    of = settings()
    assert outcomes("environment proxies", of) == [NONE]
    waiting(of, PLAIN)
    check_acquisition(of, {"http"})
    assert outcomes("environment proxies", of) == [NONE]


def test_invalid_proxy_is_not_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"me:{PASSWORD}@proxy")
    of = settings()
    waiting(of, PLAIN)
    assert refused(of, source="http").startswith("proxy http_proxy: ")


@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "http_proxy", "all_proxy"])
def test_platform_uses_environment_proxy(variable: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(variable, f"127.0.0.1:{closed_port()}")  # without a scheme, as yt-dlp takes it
    of = settings()
    assert f"correct or unset {variable}" in refused(of)
    assert outcomes("environment proxies", of) == [NONE], "of the doctor: nothing waits"
    waiting(of, TUBE, PLAIN, "https://media.example/film.mp4")
    assert [each.name for each in outcomes("environment proxies", of)] == [f"proxy {variable}"]
    monkeypatch.setenv("no_proxy", "youtube.com")
    check_acquisition(of, {"youtube"})
    monkeypatch.delenv("no_proxy")
    with YouTubeDouble([]) as youtube:
        monkeypatch.setenv(variable, youtube.proxy)
        check_acquisition(of, {TUBE.source})


SOME = ["http://one:1", "http://two:2"]


@pytest.mark.parametrize("no_proxy", ["", "*", "b.example", ".example", "a.example:80, x"])
@pytest.mark.parametrize(
    "named",
    [{}, *({name: SOME[0]} for name in ("http_proxy", "HTTPS_PROXY", "all_proxy"))]
    + [dict(zip(two, SOME, strict=True)) for two in itertools.permutations(["http_proxy", "ALL_PROXY"])],
)
def test_checked_proxy_is_the_one_used(
    no_proxy: str, named: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {**named, "no_proxy": no_proxy}.items():
        monkeypatch.setenv(name, value)
    for scheme, host in itertools.product(("http", "https"), ("a.example", "b.example")):
        taken = _environment_proxy(httpx.URL(f"{scheme}://{host}/film.mp4"))
        assert {named[name] for name in _variables([(scheme, host)])} == ({taken} - {""})
