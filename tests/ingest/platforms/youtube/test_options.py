from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yt_dlp

from mien.ingest.errors import ConfigError
from mien.ingest.ffmpeg import find_ffmpeg
from mien.ingest.platforms.ytdlp.log import Log
from mien.ingest.platforms.ytdlp.options import PASSED, REFUSED, download_options
from mien.ingest.rate.identity import Identity

DIRECT = Identity("direct")


def options(identity: Identity = DIRECT, **passed: Any) -> dict[str, Any]:
    return download_options(identity, ytdlp_options=passed, timeout_seconds=7.0, target=Path("/t"))


@pytest.mark.parametrize("key", sorted(REFUSED))
def test_dangerous_options_are_refused(key: str) -> None:
    dangerous: dict[str, Any] = {key: "x"}
    with pytest.raises(ConfigError, match=rf"acquire\.ytdlp_options\.{key} is refused") as raised:
        options(**dangerous)
    assert "\n" not in str(raised.value)


def test_misspelt_option_gets_a_suggestion() -> None:
    with pytest.raises(ConfigError, match="did you mean extractor_args"):
        options(extractor_arg={})
    with pytest.raises(ConfigError, match="extractor_retries must be of type int; got str"):
        options(extractor_retries="3")
    with pytest.raises(ConfigError, match="extractor_retries must be of type int; got bool"):
        options(extractor_retries=True)
    with pytest.raises(ConfigError, match="lists of strings"):
        options(extractor_args={"youtube": {"player_client": "web"}})
    with pytest.raises(ConfigError, match="js_runtimes"):
        options(js_runtimes={"deno": "/usr/bin/deno"})


def test_every_key_that_is_passed_is_one_of_yt_dlp() -> None:
    described = (yt_dlp.YoutubeDL.__doc__ or "") + "age_limit"
    assert [key for key in PASSED if key not in described] == []
    assert not PASSED.keys() & REFUSED.keys()


def test_an_identity_becomes_parameters(tmp_path: Path) -> None:
    cookies = tmp_path / "cookies.txt"
    cookies.write_text(".youtube.com\tTRUE\t/\tTRUE\t4102444800\tLOGIN_INFO\tvalue-of-it\n")
    identity = Identity(
        "me",
        proxy="http://127.0.0.1:9",
        cookies_file=str(cookies),
        po_token="web.gvs+A, mweb.gvs+B",  # noqa: S106
        user_agent="me/1",
    )
    args = {"youtube": {"po_token": ["web.player+C"], "player_client": ["web"]}}
    found = options(identity, extractor_args=args, http_headers={"Accept-Language": "en"}, retries=1)
    assert found["proxy"] == "http://127.0.0.1:9"
    assert found["extractor_args"]["youtube"]["po_token"] == ["web.player+C", "web.gvs+A", "mweb.gvs+B"]
    assert args["youtube"]["po_token"] == ["web.player+C"], "the table passed in is left alone"
    assert found["http_headers"] == {"Accept-Language": "en", "User-Agent": "me/1"}
    assert (found["retries"], found["socket_timeout"]) == (1, 7.0)
    assert (found["ffmpeg_location"], found["cachedir"]) == (find_ffmpeg(), False)
    with yt_dlp.YoutubeDL(found) as session:
        assert [cookie.name for cookie in session.cookiejar] == ["LOGIN_INFO"]
        assert session.proxies == {"all": "http://127.0.0.1:9"}


def test_no_configuration_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    (tmp_path / "yt-dlp").mkdir()
    (tmp_path / "yt-dlp" / "config").write_text("--exec 'touch /tmp/never'\n--format worst\n")
    with yt_dlp.YoutubeDL(options()) as session:
        assert session.params["format"].startswith("bv*[height<=720]")
        assert not any(session._pps.values())


def test_the_log_keeps_warnings_and_prints_nothing(capfd: pytest.CaptureFixture[str]) -> None:
    params = options(Identity("me", proxy="http://u:geheim@127.0.0.1:9"))
    with yt_dlp.YoutubeDL(params) as session:
        session.report_warning("one geheim")
        session.to_screen("said")
        session.write_debug("more")
    log = params["logger"]
    assert isinstance(log, Log)
    assert log.warnings == ["one ***"]
    assert capfd.readouterr() == ("", "")
