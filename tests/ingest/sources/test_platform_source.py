from __future__ import annotations

import pytest

from mien.ingest.errors import GoneError, UsageError
from mien.ingest.naming import MEDIA_EXTENSIONS
from mien.ingest.platforms.youtube.platform import YouTube
from mien.ingest.platforms.ytdlp.lister import YtDlpLister
from mien.ingest.rate.identity import Identity
from mien.ingest.sources import SOURCES, Skipped, expand
from mien.ingest.sources.platforms import PlatformSource
from tests.youtube import Fault, Video, YouTubeDouble

ID = "-aB_0123456"


@pytest.mark.parametrize(
    "written",
    [f"https://youtu.be/{ID}", f"https://www.youtube.com/shorts/{ID}", f"https://m.youtube.com/watch?v={ID}"],
)
def test_a_video_is_one_row_however_it_is_written(written: str) -> None:
    (ref,) = expand(written)
    assert (ref.source, ref.key) == ("youtube", f"youtube-{ID}")
    assert ref.uri == f"https://www.youtube.com/watch?v={ID}"


def test_every_row_of_the_registry_has_its_name() -> None:
    assert isinstance(SOURCES["youtube"], PlatformSource)
    # Asked before what takes any address, and any word.
    names = list(SOURCES)
    assert names.index("youtube") < names.index("http") < names.index("file")


def test_other_addresses_are_files_of_the_web() -> None:
    (ref,) = expand("https://example.org/youtube.mp4")
    assert ref.source == "http"


def test_an_address_that_stands_for_nothing_is_refused() -> None:
    with pytest.raises(UsageError, match="has no videos at this address"):
        list(expand("https://www.youtube.com/feed/history"))


def test_a_channel_is_asked_for_as_the_identity() -> None:
    videos = [Video(id=f"video_{number:05d}") for number in range(25)]
    videos.append(Video(id="live_______", fault=Fault.LIVE))
    with YouTubeDouble(videos) as youtube:
        identities = (Identity("north", proxy=youtube.proxy_of("north")),)
        lister = YtDlpLister(
            rules=YouTube.rules, identities=identities, ytdlp_options={"nocheckcertificate": True}
        )
        source = PlatformSource(YouTube(), lambda platform: lister)
        skipped = Skipped()
        found = list(source.expand("@Faces", skipped, MEDIA_EXTENSIONS))
        assert len(found) == 25
        assert skipped.left_out == {"live now": 1}
        assert {request.identity for request in youtube.requests} == {"north"}
        assert list(source.expand("@nobody", skipped, MEDIA_EXTENSIONS)) == []
        assert [type(error) for error in skipped.errors] == [GoneError]
