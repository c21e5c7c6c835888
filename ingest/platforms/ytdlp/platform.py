"""Any site that yt-dlp supports: Vimeo, Dailymotion, TikTok, PeerTube, news players and 1,700 others.

A URL belongs here if one of yt-dlp's extractors other than the generic one accepts it. `ytdlp:URL` forces it
for a page that only the generic extractor can read. URLs of media files stay with the plain HTTP fetcher, and
addresses of other platforms with their own budgets.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, ClassVar
from urllib.parse import unquote, urldefrag, urlsplit

from mien.ingest.errors import UsageError, one_line
from mien.ingest.media import SearchFilter, VideoRef
from mien.ingest.naming import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, extension_of, make_id, printable
from mien.ingest.platforms.acceptance import reason_against
from mien.ingest.platforms.platform import NO_FILTER, Address, Lister
from mien.ingest.platforms.ytdlp.base import YtDlpPlatform
from mien.ingest.platforms.ytdlp.download import ITEM
from mien.ingest.platforms.ytdlp.rules import SiteRules, Use

PREFIX = "ytdlp:"
_YOUTUBE_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_SAFE_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class AnySite(YtDlpPlatform):
    name = "ytdlp"
    title = "a site that yt-dlp supports"
    probe_address = ""
    needs_javascript = False
    cookie_domains: tuple[str, ...] = ()
    login_cookies: tuple[str, ...] = ()
    examples: tuple[str, ...] = (
        "https://vimeo.com/76979871",
        "https://www.dailymotion.com/video/x5kesuj",
        "https://vimeo.com/channels/tributes",
        "ytdlp:https://example.org/page",
    )
    videos_per_hour = 120
    """One video each 30 s: no site publishes a limit, and all of them share this budget."""
    rules: ClassVar[SiteRules]

    def accepts(self, argument: str) -> bool:
        text = argument.strip()
        if text.lower().startswith(PREFIX):
            return True
        if not text.lower().startswith(("http://", "https://")):
            return False
        if extension_of(_path(text)) in MEDIA_EXTENSIONS | SOUND_EXTENSIONS:
            return False
        return extractor_of(text) is not None

    def parse(self, argument: str) -> Address:
        url = _page_url(argument)
        extractor = extractor_of(url)
        kind = getattr(extractor, "_RETURN_TYPE", "any")
        if kind == "video":
            return Address(kind="video", name=video_id(url), url=url)
        return Address(kind="list", name=url, url=url)

    def search(self, words: str) -> Address | None:
        return None

    def find(
        self,
        lister: Lister,
        address: Address,
        *,
        search_filter: SearchFilter = NO_FILTER,
        limit: int | None = None,
        newest_first: bool = False,
        left_out: Counter[str] | None = None,
    ) -> Iterator[VideoRef]:
        counted: Counter[str] = Counter() if left_out is None else left_out
        if limit == 0:
            return
        if address.kind == "video":
            yield self._ref(address.url, {}, address.url, search_filter)
            return
        found = 0
        for number, entry in enumerate(lister.entries(address.url), start=1):
            if reason := reason_against(entry, search_filter):
                counted[reason] += 1
                continue
            yield self._listed(address.url, number, entry, search_filter)
            found += 1
            if found == limit:
                return

    def _listed(
        self, page: str, number: int, entry: Mapping[str, Any], search_filter: SearchFilter
    ) -> VideoRef:
        """The video of an entry: a link to another page, or one of the media on this page."""
        if entry.get("_type") in {"url", "url_transparent"}:
            linked = self._linked(page, _link_of(entry), entry, search_filter)
            if linked is not None:
                return linked
        url = page if entry.get("mien_is_only") else f"{page}#{ITEM}{entry.get('mien_item') or number}"
        return self._ref(url, entry, page, search_filter)

    def _linked(
        self, page: str, url: str, entry: Mapping[str, Any], search_filter: SearchFilter
    ) -> VideoRef | None:
        """The video behind a link; None if mien cannot store the link, which only yt-dlp understands."""
        from mien.ingest.platforms import platform_of

        if not url:
            return None
        try:
            other = platform_of(url)
            if other is not None and other.name != self.name:
                # Its own platform has its own budget.
                found = other.parse(url)
                if found.kind == "video":
                    return VideoRef(
                        source=other.name,
                        id=found.name,
                        uri=found.url,
                        title=printable(str(entry.get("title") or "")),
                        query=printable(page),
                    )
            return self._ref(_page_url(url), entry, page, search_filter)
        except (UsageError, ValueError):
            return None

    def _ref(self, url: str, entry: Mapping[str, Any], query: str, search_filter: SearchFilter) -> VideoRef:
        seconds = entry.get("duration")
        return VideoRef(
            source=self.name,
            id=video_id(url),
            uri=url,
            title=printable(str(entry.get("title") or "")),
            channel=printable(str(entry.get("channel") or entry.get("uploader") or "")),
            query=printable(query),
            duration_seconds=float(seconds) if isinstance(seconds, int | float) and seconds > 0 else None,
            filters=() if search_filter == NO_FILTER else (search_filter,),
        )


def video_id(url: str) -> str:
    """The extractor's name and id if both are safe in a key, else a readable hash of the URL.

    A function of the URL alone, so the same address always gives the same id.
    """
    extractor = extractor_of(url)
    if extractor is not None and ITEM not in urldefrag(url).fragment:
        native = str(extractor.get_temp_id(url) or "")
        if _SAFE_ID.fullmatch(native):
            return f"{extractor.ie_key()}_{native}"
    stem = _path(url).rstrip("/").rpartition("/")[2]
    return make_id(f"{urlsplit(url).hostname or ''}_{stem}", url.encode())


def extractor_of(url: str) -> Any:
    """yt-dlp's extractor class for `url`; None if only the generic one accepts it."""
    try:
        return next((kind for kind in _extractors() if kind.suitable(url)), None)
    except ValueError:  # some extractors parse the URL, which may be malformed
        return None


@cache
def _extractors() -> tuple[Any, ...]:
    """Loaded on first use: it takes a second, and most commands never need it."""
    from yt_dlp.extractor import gen_extractor_classes

    return tuple(kind for kind in gen_extractor_classes() if kind.ie_key() != "Generic")


def _page_url(argument: str) -> str:
    """The URL as it is stored. Raises UsageError for an address of another platform, or with a password."""
    from mien.ingest.platforms import PLATFORMS
    from mien.ingest.sources.web import normalised

    text = argument.strip()
    if text.lower().startswith(PREFIX):
        text = text[len(PREFIX) :]
        for other in PLATFORMS.values():
            if other.name != AnySite.name and other.accepts(text):
                raise UsageError(
                    f"{one_line(printable(text), 120)}: this belongs to {other.title}; "
                    f"add it without {PREFIX}"
                )
    if not text.lower().startswith(("http://", "https://")):
        raise UsageError(f"{one_line(printable(argument), 120)}: not a page; write {PREFIX}https://host/page")
    return normalised(text)


def _link_of(entry: Mapping[str, Any]) -> str:
    """The address to which an entry links; "" if it is none, as `jwplatform:ID`."""
    url = str(entry.get("url") or "").strip()
    if _YOUTUBE_ID.fullmatch(url) and str(entry.get("ie_key") or "Youtube") == "Youtube":
        return f"https://www.youtube.com/watch?v={url}"
    if url.startswith("//"):
        url = f"https:{url}"
    return url if url.lower().startswith(("http://", "https://")) else ""


def _path(url: str) -> str:
    try:
        return unquote(urlsplit(url).path)
    except ValueError:
        return ""


def _use_of(entry: Mapping[str, Any]) -> Use:
    """A link is followed only if its extractor always returns a list: following costs a request."""
    if entry.get("_type") not in {"url", "url_transparent"}:
        return "video"
    extractor = extractor_of(str(entry.get("url") or ""))
    return "list" if getattr(extractor, "_RETURN_TYPE", None) == "playlist" else "video"


AnySite.rules = SiteRules(use_of=_use_of)
