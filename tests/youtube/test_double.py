"""The double is taken for YouTube by yt-dlp as it is: its own search, channels, playlists and player."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yt_dlp

from tests.sync_films import make_sync_film
from tests.youtube import Fault, Video, YouTubeDouble

LIST = "PLaaaaaaaaaaaaaaaa"


class Silent:
    def debug(self, message: str) -> None: ...
    def warning(self, message: str) -> None: ...
    def error(self, message: str) -> None: ...


def ask(
    youtube: YouTubeDouble, what: str | dict[str, Any], *, download: Path | None = None, **options: Any
) -> dict[str, Any]:
    """`what`: an address, or what was answered about one before."""
    parameters = {
        "proxy": youtube.proxy,
        "nocheckcertificate": True,
        "quiet": True,
        "noprogress": True,
        "logger": Silent(),
        "cachedir": False,
        "extract_flat": "in_playlist",
        "format": "18",
        "retries": 0,
        "extractor_retries": 0,
        "socket_timeout": 60,
        "outtmpl": f"{download}/%(id)s.%(ext)s",
        "extractor_args": {"youtube": {"player_client": ["visionos"], "player_skip": ["configs", "js"]}},
    }
    with yt_dlp.YoutubeDL({**parameters, **options}) as downloader:
        extract = downloader.extract_info if isinstance(what, str) else downloader.process_ie_result
        info: dict[str, Any] = extract(what, download=download is not None)
        return info


def watch(video_id: str) -> str:
    return f"https://www.youtube.com/watch?v={video_id}"


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("double") / "film.mp4"
    make_sync_film(path, container="mp4", seconds=4.0)
    return path


@pytest.fixture
def youtube(film: Path) -> Iterator[YouTubeDouble]:
    videos = [Video(id=f"video_{number:05d}", title=f"Talk {number}", media=film) for number in range(45)]
    videos += [
        Video(id="strange_one", channel="Others", title="🎙️ שיחה", later_titles=("now so",), media=film)
    ]
    with YouTubeDouble(videos) as double:
        double.playlists[LIST] = [f"video_{number:05d}" for number in range(25)]
        yield double


@pytest.mark.parametrize(
    ("url", "count", "pages"),
    [
        ("ytsearch30:faces", 30, 2),
        ("ytsearchall:faces", 46, 3),
        ("https://www.youtube.com/results?search_query=a&sp=EgIwAQ%3D%3D", 0, 1),
        ("https://www.youtube.com/@Faces", 45, 2),
        ("https://www.youtube.com/@Faces/videos", 45, 2),
        ("https://www.youtube.com/channel/UCFacesxxxxxxxxxxxxxxxxx", 45, 2),
        (f"https://www.youtube.com/playlist?list={LIST}", 25, 2),
        ("https://www.youtube.com/playlist?list=UUFacesxxxxxxxxxxxxxxxxx", 45, 3),
    ],
)
def test_lists(youtube: YouTubeDouble, url: str, count: int, pages: int) -> None:
    found = list(ask(youtube, url)["entries"])
    assert len({entry["id"] for entry in found}) == len(found) == count
    assert len(youtube.asked("/search")) + len(youtube.asked("/browse")) == pages
    if count:
        assert found[0]["duration"] == 60 and found[0]["channel"] == "Faces"


def test_the_whole_of_a_video(youtube: YouTubeDouble, film: Path, tmp_path: Path) -> None:
    info = ask(youtube, watch("strange_one"), download=tmp_path)
    assert (info["title"], info["channel"], info["upload_date"]) == ("🎙️ שיחה", "Others", "20240517")
    assert (info["language"], info["duration"], info["live_status"]) == ("en", 60, "not_live")
    assert {entry["format_id"] for entry in info["formats"]} == {"18", "134", "140"}
    assert (tmp_path / "strange_one.mp4").read_bytes() == film.read_bytes()
    assert youtube.bytes_sent["strange_one"] == film.stat().st_size
    assert ask(youtube, watch("strange_one"))["title"] == "now so"


def test_picture_and_sound_apart(youtube: YouTubeDouble, tmp_path: Path) -> None:
    import av

    ask(youtube, watch("video_00001"), download=tmp_path, format="134")
    with av.open(str(tmp_path / "video_00001.mp4")) as picture:
        assert [stream.type for stream in picture.streams] == ["video"]
    ask(youtube, watch("video_00001"), download=tmp_path, format="140")
    with av.open(str(tmp_path / "video_00001.m4a")) as sound:
        assert [stream.type for stream in sound.streams] == ["audio"]


def test_requests_are_remembered(youtube: YouTubeDouble, tmp_path: Path) -> None:
    ask(youtube, watch("video_00002"), download=tmp_path, proxy=youtube.proxy_of("north"))
    player, media = youtube.asked("/player")[0], youtube.asked("/videoplayback")[0]
    assert (player.client, player.video_id, player.identity) == ("VISIONOS", "video_00002", "north")
    assert media.is_media and media.video_id == "video_00002" and media.range.startswith("bytes=0-")
    assert {request.identity for request in youtube.requests} == {"north"}


MESSAGES = {
    Fault.RATE_LIMITED: "429|any player response",
    Fault.SERVER_ERROR: "503",
    Fault.BOT_WALL: "not a bot",
    Fault.SESSION_LIMIT: "try again later",
    Fault.PRIVATE: "Private video",
    Fault.REMOVED: "removed by the uploader",
    Fault.TERMINATED: "terminated",
    Fault.COPYRIGHT: "copyright claim",
    Fault.AGE_GATE: "confirm your age",
    Fault.GEO_BLOCK: "available in your country",
    Fault.PREMIERE: "Premieres in 2 hours",
    Fault.MEMBERS_ONLY: "members-only",
    Fault.NO_FORMATS: "No video formats|not available",
    Fault.OTHER_VIDEO: "IP is likely being blocked",
    Fault.UNHEARD_OF: "wrong phase",
    Fault.MEDIA_FORBIDDEN: "403",
    Fault.MEDIA_RATE_LIMITED: "429",
    Fault.MEDIA_RESET: "more expected|reset|Connection",
    Fault.MEDIA_WRONG_LENGTH: "more expected",
    Fault.MEDIA_STALLED: "timed out",
}


@pytest.mark.slow
@pytest.mark.parametrize("fault", MESSAGES)
def test_faults_use_youtubes_words(film: Path, tmp_path: Path, fault: Fault) -> None:
    video = Video(id="faulty_____", media=film, fault=fault, fault_times=1, premieres_at=time.time() + 7200)
    with YouTubeDouble([video]) as youtube:
        url = watch(video.id)
        if fault is Fault.AGE_GATE:
            youtube.fault(fault, video.id)  # yt-dlp asks a second client
        args = {"youtube": {"player_client": ["visionos"], "player_skip": ["webpage"]}}
        options: dict[str, Any] = {"extractor_args": args}
        if fault in {Fault.RATE_LIMITED, Fault.SERVER_ERROR}:
            youtube.fault(fault, video.id)  # it asks for what is below the video before
        what: str | dict[str, Any] = url
        if fault is Fault.MEDIA_STALLED:  # of all that may be late, only this is not waited for
            what = ask(youtube, url, **options)
            options["socket_timeout"] = 1
        with pytest.raises(yt_dlp.utils.DownloadError, match=MESSAGES[fault]):
            ask(youtube, what, download=tmp_path, **options)
        youtube.heal(video.id)
        assert ask(youtube, url, download=tmp_path)["id"] == video.id
        assert (tmp_path / f"{video.id}.mp4").read_bytes() == film.read_bytes()


@pytest.mark.parametrize("fault", [Fault.MEDIA_HTML, Fault.MEDIA_SHORT, Fault.MEDIA_NOISE])
def test_false_successes(film: Path, tmp_path: Path, fault: Fault) -> None:
    with YouTubeDouble([Video(id="faulty_____", media=film, fault=fault)]) as youtube:
        ask(youtube, watch("faulty_____"), download=tmp_path)
        assert (tmp_path / "faulty_____.mp4").read_bytes() != film.read_bytes()


def test_a_live_one_has_no_end(film: Path) -> None:
    with YouTubeDouble([Video(id="faulty_____", media=film, fault=Fault.LIVE)]) as youtube:
        assert ask(youtube, watch("faulty_____"), format="b/bv")["live_status"] == "is_live"


def test_a_premiere_begins(film: Path) -> None:
    video = Video(id="faulty_____", media=film, fault=Fault.PREMIERE, premieres_at=time.time() - 1)
    with YouTubeDouble([video]) as youtube:
        assert ask(youtube, watch(video.id))["live_status"] == "not_live"


@pytest.mark.slow
def test_proxy_that_wants_a_password(film: Path) -> None:
    with YouTubeDouble([Video(id="video_00001", media=film)], password="right") as youtube:  # noqa: S106
        with pytest.raises(yt_dlp.utils.DownloadError, match="407"):
            ask(youtube, watch("video_00001"))
        assert ask(youtube, watch("video_00001"), proxy=youtube.proxy_of("a"))["id"] == "video_00001"
