"""Secrets of an identity, and their removal from errors, logs and samples."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mien.ingest.errors import CookiesError
from mien.ingest.platforms.cookies import Cookie, read_cookies
from mien.ingest.rate.identity import HIDDEN, Identity

# Shorter values ("1", "en", "CAI") are not secret, and removing them would garble the text.
_SHORTEST_COOKIE = 8
_SECRET_NAME = re.compile(r"token|passw|auth|cookie|secret|data_sync|visitor", re.IGNORECASE)
_LOGIN = re.compile(r"(?<=://)[^/\s@]+@")


class Secrets:
    """The secrets of one egress identity."""

    def __init__(self, values: Iterator[str]) -> None:
        spellings = {
            spelling
            for value in values
            if value
            for spelling in (value, quote(value, safe=""), unquote(value))
        }
        longest_first = sorted(spellings, key=len, reverse=True)
        self._pattern = re.compile("|".join(map(re.escape, longest_first))) if spellings else None

    def redact(self, text: str) -> str:
        """Replaces every secret, and the login in any URL, by ***."""
        hidden = self._pattern.sub(HIDDEN, text) if self._pattern else text
        return _LOGIN.sub(f"{HIDDEN}@", hidden)

    def __repr__(self) -> str:
        return "Secrets()"


def secrets_of(identity: Identity, ytdlp_options: Mapping[str, Any]) -> Secrets:
    """The secrets in `identity` and in the options for yt-dlp."""
    return Secrets(_values(identity, ytdlp_options))


def _values(identity: Identity, ytdlp_options: Mapping[str, Any]) -> Iterator[str]:
    if identity.proxy:
        parts = urlsplit(identity.proxy)
        if parts.username or parts.password:
            yield identity.proxy
            yield parts.netloc.rpartition("@")[0]
        # Redacting a password of one or two letters would garble the text; the whole login is hidden above.
        yield parts.password if parts.password and len(parts.password) > 2 else ""
    for token in identity.po_token.split(","):
        yield token.strip()
        yield token.rpartition("+")[2].strip()
    for cookie in _cookies(identity.cookies_file):
        if len(cookie.value) >= _SHORTEST_COOKIE:
            yield cookie.value
    yield from _named_as_secret(ytdlp_options, is_secret=False)


def _cookies(path: str) -> tuple[Cookie, ...]:
    if not path:
        return ()
    try:
        return read_cookies(path)
    except CookiesError:
        # Cookies that cannot be read are not sent either; the error appears when they are needed.
        return ()


def _named_as_secret(value: Any, *, is_secret: bool) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _named_as_secret(inner, is_secret=is_secret or bool(_SECRET_NAME.search(str(key))))
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _named_as_secret(inner, is_secret=is_secret)
    elif is_secret and isinstance(value, str) and len(value) >= _SHORTEST_COOKIE:
        yield value
        yield value.rpartition("+")[2]
