"""An egress identity: a proxy and cookies to reach platforms with, and its hourly budget per platform."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import ClassVar
from urllib.parse import urlsplit

HIDDEN = "***"

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_LOGIN = re.compile(r"(://)[^/]*@")


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """Budgets hold per platform and in any window of 3,600 s; 0 is no limit.

    Raises:
        ValueError: an invalid name, a negative budget, or an invalid proxy address.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}  # a misspelt key is refused

    name: str
    proxy: str = ""
    """scheme://user:password@host:port; empty: a direct connection."""
    cookies_file: str = ""
    """Path of a cookies file in Netscape's format."""
    po_token: str = ""
    user_agent: str = ""
    requests_per_hour: int = 0
    videos_per_hour: int | None = None
    """None: the default of the platform."""
    bytes_per_hour: int = 0

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise ValueError(
                f"an identity's name is letters, digits, _ . and -; got {self.name!r}; rename it"
            )
        for budget in ("requests_per_hour", "videos_per_hour", "bytes_per_hour"):
            if (value := getattr(self, budget)) is not None and value < 0:
                raise ValueError(f"identity {self.name}: {budget} is 0 (no limit) or more; got {value}")
        if self.proxy and not _is_address(self.proxy):  # the value may hold a password
            raise ValueError(
                f"identity {self.name}: proxy is not an address; write scheme://user:password@host:port"
            )

    def on(self, *, videos_per_hour: int) -> Identity:
        """The identity with the default budget of a platform filled in."""
        return self if self.videos_per_hour is not None else replace(self, videos_per_hour=videos_per_hour)

    @property
    def redacted(self) -> Identity:
        """The identity without its secrets: the proxy's login and the token."""
        return replace(
            self,
            proxy=_LOGIN.sub(rf"\g<1>{HIDDEN}@", self.proxy),
            po_token=HIDDEN if self.po_token else "",
        )

    def __repr__(self) -> str:
        # Printing or logging an identity must not reveal a secret.
        return f"Identity({self.name!r})"


DIRECT = Identity("direct")


def _is_address(proxy: str) -> bool:
    try:
        parts = urlsplit(proxy)
        return bool(parts.scheme and parts.hostname) and parts.port != 0
    except ValueError:
        return False
