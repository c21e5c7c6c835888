"""A proxy's password, a cookie's value and a token are in no text that anybody could read."""

from __future__ import annotations

import logging
import pickle
import traceback
from pathlib import Path

import pytest

from mien.ingest.errors import CookiesError, MienError, ProxyError
from mien.ingest.platforms import PLATFORMS
from mien.ingest.platforms.cookies import check_current, read_cookies
from mien.ingest.rate.identity import Identity
from tests.ingest.platforms.youtube.conftest import SECONDS
from tests.ingest.platforms.youtube.fetching import ID, OPTIONS, fetched, texts_of, youtube_fetch, youtube_job
from tests.youtube import Fault, Video, YouTubeDouble

pytestmark = pytest.mark.slow

PASSWORD, COOKIE, TOKEN = "pa55w0rd-geheim", "k3ks-w3rt-geheim-123456", "T0ken-geheim-abcdef"
LINE = f".youtube.com\tTRUE\t/\tTRUE\t4102444800\tLOGIN_INFO\t{COOKIE}\n"


@pytest.fixture
def cookies(tmp_path: Path) -> Path:
    path = tmp_path / "cookies.txt"
    path.write_text(f"# Netscape HTTP Cookie File\n{LINE}")
    path.chmod(0o600)
    return path


def secretive(youtube: YouTubeDouble, cookies: Path) -> Identity:
    proxy = f"http://me:{PASSWORD}@127.0.0.1:{youtube.port}"
    return Identity("me", proxy=proxy, cookies_file=str(cookies), po_token=f"web.gvs+{TOKEN}")


def assert_silent(*texts: str) -> None:
    for text in texts:
        for secret in (PASSWORD, COOKIE, TOKEN):
            assert secret not in text


@pytest.mark.parametrize(
    "fault", [fault for fault in Fault if fault is not Fault.MEDIA_STALLED], ids=lambda fault: fault.name
)
def test_no_error_contains_a_secret(
    tmp_path: Path,
    film: Path,
    cookies: Path,
    fault: Fault,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    video = Video(id=ID, media=film, duration_seconds=SECONDS, fault=fault, premieres_at=4e9)
    with YouTubeDouble([video], password=PASSWORD) as youtube:
        stage = youtube_fetch(tmp_path, secretive(youtube, cookies))
        try:
            texts = [texts_of(fetched(stage, youtube_job()))]
        except MienError as error:
            texts = [texts_of(error), *traceback.format_exception(error), repr(vars(error))]
        assert youtube.requests, "the double let it in"
        assert "LOGIN_INFO" in youtube.requests[0].cookies
    assert_silent(caplog.text, *capfd.readouterr(), *texts)
    for left in (path for path in stage.cache.folder.rglob("*") if path.is_file()):
        assert_silent(left.read_bytes().decode("latin-1"))
    assert cookies.read_text().endswith(LINE), "the file is as it was"


@pytest.mark.parametrize("proxy", ["http://me:{}@127.0.0.1:9", "socks5://me:{}@127.0.0.1:9"])
def test_unreachable_proxy_hides_its_login(tmp_path: Path, cookies: Path, proxy: str) -> None:
    identity = Identity("me", proxy=proxy.format(PASSWORD), cookies_file=str(cookies))
    stage = youtube_fetch(tmp_path, identity)
    with pytest.raises(ProxyError) as raised:
        fetched(stage, youtube_job())
    assert raised.value.circuit
    assert_silent(texts_of(raised.value), *traceback.format_exception(raised.value))


def test_proxy_with_wrong_password(tmp_path: Path, film: Path, cookies: Path) -> None:
    with YouTubeDouble([Video(id=ID, media=film)], password="another") as youtube:  # noqa: S106
        stage = youtube_fetch(tmp_path, secretive(youtube, cookies))
        with pytest.raises(ProxyError) as raised:
            fetched(stage, youtube_job())
    assert_silent(texts_of(raised.value), *traceback.format_exception(raised.value))


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        (None, "cannot be read"),
        ("", "no cookies"),
        ("# Netscape HTTP Cookie File\n", "no cookies"),
        (f'[{{"name": "LOGIN_INFO", "value": "{COOKIE}"}}]', "JSON"),
        (LINE.replace("\t", " "), "line 1"),
        (f"# Netscape HTTP Cookie File\n{LINE}youtube.com {COOKIE}\n", "line 3"),
        (LINE.replace("4102444800", "1000000000"), "expired on 2001-09-09"),
        (LINE.replace("youtube", "example"), "no cookies of YouTube"),
    ],
)
def test_unusable_cookies(tmp_path: Path, text: str | None, problem: str) -> None:
    path = tmp_path / "cookies.txt"
    if text is not None:
        path.write_text(text)
    with pytest.raises(CookiesError, match=problem) as raised:
        check_current(str(path), read_cookies(str(path)), [PLATFORMS["youtube"]])
    assert "\n" not in str(raised.value)
    assert_silent(texts_of(raised.value))


def test_one_bad_cookies_file_is_an_error_of_its_own(tmp_path: Path) -> None:
    stage = youtube_fetch(tmp_path, Identity("me", cookies_file=str(tmp_path / "none")))
    with pytest.raises(CookiesError, match="cannot be read"):
        fetched(stage, youtube_job())


def test_the_stage_travels_to_a_worker(tmp_path: Path) -> None:
    stage = youtube_fetch(
        tmp_path, Identity("me", proxy=f"http://me:{PASSWORD}@127.0.0.1:9"), ytdlp_options=OPTIONS
    )
    again = pickle.loads(pickle.dumps(stage))  # noqa: S301
    assert again.identities[0].proxy.endswith("@127.0.0.1:9")
    assert_silent(texts_of(again.identities[0].redacted), repr(again))
