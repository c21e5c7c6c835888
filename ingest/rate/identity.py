"""An egress identity: one way out to a platform, with what it may ask for in an hour."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import urlsplit

HIDDEN = "***"
YOUTUBE_VIDEOS_PER_HOUR = 300
"""Of a default session without a PO token; about 1,000 with one (yt-dlp's wiki, "Extractors")."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LOGIN = re.compile(r"(://)[^/]*@")


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """Budgets are per hour, in any window of 3,600 s; 0 is no limit.

    Raises:
        ValueError: a name that is no name, a budget below 0, or a proxy that is no address.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # a misspelt key of a table is refused

    name: str
    proxy: str = ""
    """scheme://user:password@host:port; empty: a direct connection."""
    cookies_file: str = ""
    """In Netscape's format."""
    po_token: str = ""
    user_agent: str = ""
    requests_per_hour: int = 0
    videos_per_hour: int = YOUTUBE_VIDEOS_PER_HOUR
    bytes_per_hour: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"an identity's name is letters, digits, _ . and -; got {self.name!r}; rename it"
            )
        for budget in ("requests_per_hour", "videos_per_hour", "bytes_per_hour"):
            if (value := getattr(self, budget)) < 0:
                raise ValueError(f"identity {self.name}: {budget} is 0 (no limit) or more; got {value}")
        if self.proxy and not _is_address(self.proxy):  # what it was may hold a password
            raise ValueError(
                f"identity {self.name}: proxy is no address; write scheme://user:password@host:port"
            )

    @property
    def redacted(self) -> Identity:
        """The same without what only its owner may know: the proxy's login and the token."""
        return replace(
            self,
            proxy=_LOGIN.sub(rf"\g<1>{HIDDEN}@", self.proxy),
            po_token=HIDDEN if self.po_token else "",
        )

    def __repr__(self) -> str:
        # Whatever prints or logs an identity prints no secret.
        return f"Identity({self.name!r})"


DIRECT = Identity("direct")


def _is_address(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:
        return False
