"""Searches, channels and playlists through yt-dlp as it is, against the double."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import date

import pytest

from mien.ingest.errors import BotWallError, FetchError, GoneError, MienError, ProxyError, RateLimitedError
from mien.ingest.media import SearchFilter, VideoRef
from mien.ingest.platforms.platform import Address
from mien.ingest.platforms.youtube.platform import YouTube
from mien.ingest.platforms.youtube.search import find
from mien.ingest.platforms.ytdlp.lister import YtDlpLister
from mien.ingest.rate.identity import Identity
from tests.youtube import Fault, Video, YouTubeDouble

LIST = "PLaaaaaaaaaaaaaaaa"
TITLES = ("🎙️ 👩‍🏫 Vortrag", "שיחה עם \u202eאנשים", "a\nb\x1b[31m", "\ud83d half", "")


def youtube_address(query: str) -> Address:
    platform = YouTube()
    return platform.parse(query) if platform.accepts(query) else platform.search(query)


@pytest.fixture
def youtube() -> Iterator[YouTubeDouble]:
    videos = [
        Video(
            id=f"video_{number:05d}",
            title=TITLES[number] if number < len(TITLES) else f"Talk {number}",
            duration_seconds=60 * (number + 1),
            creative_commons=number % 2 == 0,
            uploaded=date(2020 + number % 6, 3, 1),
            channel="Faces" if number < 30 else "Others",
        )
        for number in range(45)
    ]
    with YouTubeDouble(videos) as double:
        yield double


def lister(youtube: YouTubeDouble, *names: str) -> YtDlpLister:
    identities = tuple(Identity(name, proxy=youtube.proxy_of(name)) for name in names or ("one",))
    return YtDlpLister(
        rules=YouTube.rules,
        identities=identities,
        ytdlp_options={"nocheckcertificate": True},
        timeout_seconds=60,
    )


def ids(refs: list[VideoRef]) -> list[int]:
    return [int(ref.id.removeprefix("video_")) for ref in refs]


def test_words_are_searched(youtube: YouTubeDouble) -> None:
    asking = lister(youtube)
    refs = list(find(asking, youtube_address("people talking"), limit=25))
    assert ids(refs) == list(range(25))
    first = refs[5]
    assert first == VideoRef(
        source="youtube",
        id="video_00005",
        uri="https://www.youtube.com/watch?v=video_00005",
        title="Talk 5",
        channel="Faces",
        query="people talking",
        duration_seconds=360.0,
    )
    assert youtube.asked("/search")[0].query == "people talking"
    # A page is asked for when it is needed, and no video at all.
    assert len(youtube.requests) == asking.requests["one"] == 2


def test_titles_are_unchanged(youtube: YouTubeDouble) -> None:
    refs = list(find(lister(youtube), youtube_address("x"), limit=3))
    assert [ref.title for ref in refs] == list(TITLES[:3])


@pytest.mark.parametrize(
    ("query", "count", "name"),
    [
        ("@Faces", 30, "https://www.youtube.com/@Faces"),
        ("https://www.youtube.com/@Others/videos", 15, "https://www.youtube.com/@Others/videos"),
        ("https://www.youtube.com/channel/UCOthersxxxxxxxxxxxxxxxx", 15, ""),
        (f"https://music.youtube.com/playlist?list={LIST}", 24, ""),
        ("https://youtu.be/video_00007", 1, ""),
        ("ytsearch7:x", 7, "x"),
    ],
)
def test_everything_that_stands_for_videos(youtube: YouTubeDouble, query: str, count: int, name: str) -> None:
    youtube.playlists[LIST] = [f"video_{number:05d}" for number in (*range(24), 3, 4)]
    refs = list(find(lister(youtube), youtube_address(query)))
    assert len(ids(refs)) == len(set(ids(refs))) == count
    assert name in ("", refs[0].query)


def test_single_video_needs_no_request(youtube: YouTubeDouble) -> None:
    assert [ref.key for ref in find(lister(youtube), youtube_address("https://youtu.be/video_00007"))] == [
        "youtube-video_00007"
    ]
    assert youtube.requests == []


def test_filters(youtube: YouTubeDouble) -> None:
    requested = SearchFilter(
        after="2023-01-01", min_seconds=300, max_seconds=900, language="de", licence="cc"
    )
    left_out: Counter[str] = Counter()
    refs = list(find(lister(youtube), youtube_address("x"), search_filter=requested, left_out=left_out))
    assert ids(refs) == [4, 10]  # 300 … 900 s, even, 2023 or later
    assert {ref.filters for ref in refs} == {(requested,)}
    # What is not under Creative Commons, and what is of another class of length, YouTube left out itself.
    assert left_out == {"too long": 2, "published before 2023-01-01": 4}


def test_list_metadata_is_used(youtube: YouTubeDouble) -> None:
    faults = {"p": Fault.PRIVATE, "r": Fault.REMOVED, "l": Fault.LIVE, "m": Fault.MEMBERS_ONLY}
    for name, fault in faults.items():
        youtube.videos[name * 11] = Video(id=name * 11, fault=fault)
    youtube.playlists[LIST] = [name * 11 for name in faults]
    left_out: Counter[str] = Counter()
    found = find(
        lister(youtube), youtube_address(f"https://www.youtube.com/playlist?list={LIST}"), left_out=left_out
    )
    assert [ref.id for ref in found] == ["m" * 11]
    assert left_out == {"private or deleted": 2, "live now": 1}


@pytest.mark.parametrize(
    ("query", "kind"),
    [
        ("@nobody", GoneError),
        (f"https://www.youtube.com/playlist?list={LIST}", FetchError),
    ],
)
def test_missing_list(youtube: YouTubeDouble, query: str, kind: type[MienError]) -> None:
    with pytest.raises(kind) as caught:
        list(find(lister(youtube), youtube_address(query)))
    assert "\n" not in str(caught.value)


def test_interrupted_paging_keeps_results(youtube: YouTubeDouble) -> None:
    youtube.fault(Fault.SEARCH_CUT)
    found = find(lister(youtube), youtube_address("people talking"))
    assert ids([next(found) for _ in range(20)]) == list(range(20))
    with pytest.raises(FetchError, match="people talking: YouTube answered 500"):
        next(found)


def test_paging_survives_transient_failure(youtube: YouTubeDouble) -> None:
    youtube.fault(Fault.SERVER_ERROR, times=1)
    assert len(list(find(lister(youtube), youtube_address("x")))) == 45


def test_next_identity_after_a_refusal(youtube: YouTubeDouble) -> None:
    asking = lister(youtube, "one", "two")
    found = find(asking, youtube_address("x"))
    refs = [next(found) for _ in range(20)]
    youtube.fault(Fault.RATE_LIMITED, times=1)
    refs += list(found)
    assert ids(refs) == list(range(45))
    assert [request.identity for request in youtube.requests] == ["one", "one", "two", "two", "two"]
    assert len(list(find(asking, youtube_address("y"), limit=1))) == 1
    assert youtube.requests[-1].identity == "two"
    assert isinstance(asking.refused["one"], RateLimitedError)


def test_no_request_once_all_are_refused(youtube: YouTubeDouble) -> None:
    asking = lister(youtube, "one", "two")
    youtube.fault(Fault.RATE_LIMITED)
    for _ in range(2):
        with pytest.raises(RateLimitedError):
            list(find(asking, youtube_address("x")))
    assert [request.identity for request in youtube.requests] == ["one", "two"]
    asking = lister(youtube, "one")
    asking.refused["one"] = BotWallError("it is paused")
    with pytest.raises(BotWallError):
        list(find(asking, youtube_address("x")))
    assert len(youtube.requests) == 2


def test_secrets_stay_secret(youtube: YouTubeDouble) -> None:
    identity = Identity("one", proxy="http://name:geheimnis@127.0.0.1:9")
    with pytest.raises(ProxyError) as caught:
        list(
            find(
                YtDlpLister(rules=YouTube.rules, identities=(identity,), timeout_seconds=2),
                youtube_address("x"),
            )
        )
    assert "geheimnis" not in str(caught.value)
