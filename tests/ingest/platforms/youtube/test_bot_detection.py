"""A refusal of the watch page is one of the identity, though yt-dlp asks other clients and gets the video."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from mien.ingest.errors import BotWallError, MienError, RateLimitedError
from mien.ingest.platforms.youtube.bot_detection import is_sorry_page, wall_in
from mien.ingest.rate.identity import DIRECT
from tests.ingest.platforms.youtube.conftest import SECONDS
from tests.ingest.platforms.youtube.fetching import (
    ID,
    fetched,
    identity_through,
    names_in_cache,
    youtube_fetch,
    youtube_job,
)
from tests.youtube import Fault, Video, YouTubeDouble

WITH_PAGE = {
    "extractor_args": {"youtube": {"player_client": ["visionos"], "player_skip": ["configs", "js"]}},
}


@pytest.mark.parametrize(
    ("fault", "kind", "expected"),
    [
        (Fault.PAGE_RATE_LIMITED, RateLimitedError, "answered 429"),
        (Fault.RATE_LIMITED, RateLimitedError, "answered 429"),
        (Fault.PAGE_SORRY, BotWallError, "429 and a captcha"),
        (Fault.PAGE_BOT_WALL, BotWallError, "not a bot"),
    ],
)
def test_no_request_after_a_wall(
    tmp_path: Path, film: Path, fault: Fault, kind: type[MienError], expected: str
) -> None:
    with YouTubeDouble([Video(id=ID, media=film, duration_seconds=SECONDS)]) as youtube:
        youtube.fault(fault, times=1)
        stage = youtube_fetch(tmp_path, identity_through(youtube), ytdlp_options=WITH_PAGE)
        with pytest.raises(kind) as raised:
            fetched(stage, youtube_job())
        paths = [request.path for request in youtube.requests]
        assert paths[0] == "/watch"
        assert set(paths[1:]) <= {"/sorry/index"}
        error = raised.value
        assert (type(error), error.circuit, error.usage_requests) == (kind, True, 1)
        assert ID in str(error)
        assert expected in str(error)
        assert "\n" not in str(error)
        assert names_in_cache(stage) <= {".work"}
        assert fetched(stage, youtube_job()).key == f"youtube-{ID}", "once it is over, all is well"


def test_normal_page_is_no_wall(tmp_path: Path, film: Path) -> None:
    title = "Sign in to confirm you’re not a bot: how to"
    with YouTubeDouble([Video(id=ID, title=title, media=film, duration_seconds=SECONDS)]) as youtube:
        stage = youtube_fetch(tmp_path, identity_through(youtube), ytdlp_options=WITH_PAGE)
        assert fetched(stage, youtube_job()).job.video.title == title
        assert youtube.asked("/watch")


def page(status: object) -> bytes:
    answer = {"videoDetails": {"title": "not a bot"}, "playabilityStatus": status}
    return f"<script>var ytInitialPlayerResponse = {json.dumps(answer)};var x = 1;</script>".encode()


@pytest.mark.parametrize(
    ("html", "expected"),
    [
        (page({"status": "LOGIN_REQUIRED", "reason": "Sign in to confirm you’re not a bot"}), "not a bot"),
        (page({"status": "ERROR", "reason": "This content isn't available, try again later."}), "try again"),
        (page({"status": "OK", "reason": "Sign in to confirm you’re not a bot"}), ""),
        (page({"status": "LOGIN_REQUIRED", "reason": "Sign in to confirm your age"}), ""),
        (page({"status": "LOGIN_REQUIRED", "reason": "Private video"}), ""),
        (page({"status": "ERROR"}), ""),
        (page("LOGIN_REQUIRED"), ""),
        (b"var ytInitialPlayerResponse = {broken", ""),
        (b"var ytInitialPlayerResponse = [1]", ""),
        (b"\xff Sign in to confirm you're not a bot", ""),
    ],
)
def test_only_the_players_own_answer_counts(html: bytes, expected: str) -> None:
    assert (expected in wall_in(html)) if expected else wall_in(html) == ""


def test_the_captcha_is_googles_own() -> None:
    assert is_sorry_page("https://www.google.com/sorry/index?continue=x")
    assert not is_sorry_page("https://evilgoogle.com/sorry/index")
    assert not is_sorry_page("https://www.youtube.com/watch?v=sorry")


def test_swallowed_refusal_is_raised(monkeypatch: pytest.MonkeyPatch) -> None:
    from yt_dlp import YoutubeDL

    from mien.ingest.platforms.youtube.platform import YouTube
    from mien.ingest.platforms.ytdlp.options import request_options
    from mien.ingest.platforms.ytdlp.session import Meter, Refused, Session

    meter = Meter()
    options = request_options(DIRECT, ytdlp_options={}, timeout_seconds=1)

    def goes_on(self: Session, *arguments: object, **named: object) -> dict[str, str]:
        meter.refused = Refused("HTTP Error 429")
        return {"id": "x"}

    monkeypatch.setattr(YoutubeDL, "extract_info", goes_on)
    with Session(options, meter, YouTube.rules) as session:
        with pytest.raises(Refused):
            session.extract_info("https://www.youtube.com/watch?v=x")
        with pytest.raises(Refused):
            session.urlopen("https://www.youtube.com/")
    assert meter.requests == 0
