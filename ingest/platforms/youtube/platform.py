"""YouTube as a platform."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from mien.ingest.platforms.platform import Address
from mien.ingest.platforms.youtube.address import is_youtube, parse
from mien.ingest.platforms.youtube.bot_detection import is_sorry_page, wall_in
from mien.ingest.platforms.youtube.search import find as find_videos
from mien.ingest.platforms.ytdlp.base import YtDlpPlatform
from mien.ingest.platforms.ytdlp.rules import SiteRules, Use

SESSION_PAUSE_SECONDS = 3600.0
"""YouTube's own statement of how long a session that asked too much is refused: "for up to an hour"."""


def _use_of(entry: Mapping[str, Any]) -> Use:
    if entry.get("_type") in {"url", "url_transparent"}:
        if entry.get("ie_key") == "Youtube" and entry.get("id"):
            return "video"
        return "list" if "youtube.com/" in str(entry.get("url")) else "skip"
    return "video" if entry.get("extractor_key", "Youtube") == "Youtube" else "skip"


class YouTube(YtDlpPlatform):
    name = "youtube"
    title = "YouTube"
    probe_address = "www.youtube.com:443"
    needs_javascript = True
    cookie_domains: tuple[str, ...] = ("youtube.com", "google.com")
    login_cookies: tuple[str, ...] = (
        "LOGIN_INFO",
        "SAPISID",
        "__Secure-1PAPISID",
        "__Secure-3PAPISID",
        "SID",
        "__Secure-3PSID",
    )
    examples: tuple[str, ...] = (
        "https://www.youtube.com/watch?v=aaaaaaaaaa1",
        "https://youtu.be/aaaaaaaaaa1",
        "https://www.youtube.com/playlist?list=PLaaaaaaaaaaaaaaaa",
        "@somebody",
        "ytsearch20:people talking",
    )
    videos_per_hour = 300
    """For a default session without a PO token; about 1,000 with one (yt-dlp's wiki, "Extractors")."""
    checks_addresses = False  # an address is rebuilt from an id, so it always leads to YouTube
    rules: ClassVar[SiteRules] = SiteRules(
        title="YouTube",
        ie_key="Youtube",
        hosts=("youtube.com", "youtube-nocookie.com", "google.com", "googlevideo.com", "googleapis.com"),
        media_hosts=("googlevideo.com",),
        refusal_statuses=frozenset({402, 429}),  # 402 "Payment Required" was the rate limit before 429
        session_pause_seconds=SESSION_PAUSE_SECONDS,
        is_captcha=is_sorry_page,
        wall_path="/watch",
        wall_in=wall_in,
        list_arguments={
            "youtubetab": {
                "approximate_date": ["true"],  # "3 years ago" becomes a time
                # The API alone suffices; the web page tells more only to a visitor who is logged in.
                "skip": ["webpage"],
            }
        },
        use_of=_use_of,
    )

    def accepts(self, argument: str) -> bool:
        return is_youtube(argument)

    def parse(self, argument: str) -> Address:
        return parse(argument)

    def search(self, words: str) -> Address:
        return parse(f"ytsearchall:{words}")

    find = staticmethod(find_videos)
