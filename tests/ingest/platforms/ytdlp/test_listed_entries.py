"""What the entries of a list become, with made-up results of yt-dlp."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from mien.ingest.media import VideoRef
from mien.ingest.platforms.ytdlp.lister import YtDlpLister
from mien.ingest.platforms.ytdlp.platform import AnySite

PAGE = "https://news.example/page"
SITE = AnySite()
OWN = [{"_type": "video", "id": "a"}, None, {"_type": "video", "id": "b"}]


class MadeUpSession:
    def __init__(self, results: Mapping[str, Any]) -> None:
        self.results = results

    def extract_info(self, url: str, **options: Any) -> Any:
        return self.results[url]


class MadeUpLister(YtDlpLister):
    def __init__(self, results: Mapping[str, Any]) -> None:
        super().__init__(rules=AnySite.rules)
        self.results = results

    def _asked_as(self, identity: Any, url: str, name: str) -> Iterator[dict[str, Any]]:
        return self._flat(MadeUpSession(self.results), {"url": url}, 3)


def found(top: Mapping[str, Any], **others: Any) -> list[VideoRef]:
    lister: Any = MadeUpLister({PAGE: top, **others})
    return list(SITE.find(lister, SITE.parse(f"ytdlp:{PAGE}")))


def playlist(*entries: Any) -> dict[str, Any]:
    return {"_type": "playlist", "entries": list(entries)}


@pytest.mark.parametrize(
    "url", ["jwplatform:AbCd1234", "@somebody", "https://a:b@host/x", "http://[broken", "ytdlp:file:///x"]
)
def test_a_link_that_is_no_page_keeps_the_page(url: str) -> None:
    link = {"_type": "url", "url": url, "ie_key": "Other"}
    assert [ref.uri for ref in found(link)] == [PAGE]
    first, second = found(playlist({"_type": "video", "id": "own"}, link))
    assert (first.uri, second.uri) == (f"{PAGE}#mien-item=1", f"{PAGE}#mien-item=2")
    assert first.id != second.id


def test_a_bare_youtube_id_goes_to_youtube() -> None:
    (ref,) = found({"_type": "url", "url": "dQw4w9WgXcQ", "ie_key": "Youtube"})
    assert ref.key == "youtube-dQw4w9WgXcQ"


def test_a_link_without_scheme_gets_https() -> None:
    (ref,) = found(playlist({"_type": "url_transparent", "url": "//cdn.example/v"}))
    assert (ref.source, ref.uri) == ("ytdlp", "https://cdn.example/v")


def test_an_empty_entry_is_skipped_but_counted() -> None:
    assert [ref.uri for ref in found(playlist(*OWN))] == [f"{PAGE}#mien-item=1", f"{PAGE}#mien-item=3"]


def test_item_is_the_index_in_the_outermost_list() -> None:
    channel = "https://vimeo.com/channels/tributes"
    links = playlist(*({"_type": "url", "url": f"https://vimeo.com/{n}"} for n in (1, 2, 1)))
    top = playlist({"_type": "url", "url": channel}, {"_type": "video", "id": "own"})
    refs = found(top, **{channel: links})
    assert [ref.uri for ref in refs] == [
        "https://vimeo.com/1",
        "https://vimeo.com/2",
        f"{PAGE}#mien-item=2",
    ]
