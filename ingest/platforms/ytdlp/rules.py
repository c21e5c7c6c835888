"""How one site differs from others that yt-dlp reads."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

Use = Literal["video", "list", "skip"]


def _never(url: str) -> bool:
    return False


def _no_wall(page: bytes) -> str:
    return ""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteRules:
    title: str = "the site"
    ie_key: str | None = None
    """yt-dlp's extractor for videos; None: yt-dlp chooses one by the URL."""
    hosts: tuple[str, ...] = ()
    """The site's own domains; empty: any. A refusal by another host is not the site's refusal."""
    media_hosts: tuple[str, ...] = ()
    """Domains that serve media only. Empty: an error of the page extraction is about the page."""
    refusal_statuses: frozenset[int] = frozenset({429})
    """HTTP statuses with which the site refuses the identity and not the video."""
    session_pause_seconds: float | None = None
    """How long a rate-limited session is refused, if the site says so without Retry-After."""
    is_captcha: Callable[[str], bool] = _never
    """Whether a request was redirected to a captcha; called with the final URL."""
    wall_path: str = ""
    """Path of the pages that `wall_in` inspects."""
    wall_in: Callable[[bytes], str] = _no_wall
    """The reason for which a page refuses the visitor; "" if it does not."""
    list_arguments: Mapping[str, Mapping[str, list[str]]] = field(default_factory=dict)
    """yt-dlp's extractor arguments for lists."""
    use_of: Callable[[Mapping[str, Any]], Use] = lambda entry: "video"
    """What a flat entry of a list stands for."""

    def is_own(self, url: str) -> bool:
        return not self.hosts or _is_of(url, self.hosts)

    def is_media(self, url: str, *, in_extraction: bool) -> bool:
        return _is_of(url, self.media_hosts) if self.media_hosts else not in_extraction


def _is_of(url: str, hosts: tuple[str, ...]) -> bool:
    host = (urlsplit(url).hostname or "").lower()
    return any(host == name or host.endswith(f".{name}") for name in hosts)
