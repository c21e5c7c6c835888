"""What must never be read in an error, a log or a sample, and its removal from texts."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote, urlsplit

from mien.ingest.errors import CookiesError
from mien.ingest.rate.identity import HIDDEN, Identity
from mien.ingest.youtube.cookies import Cookie, read_cookies

# Shorter ones ("1", "en", "CAI") are no secrets, and removing them would spoil the text.
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
        """`text` with every secret, and the login of any address, replaced by ***."""
        hidden = self._pattern.sub(HIDDEN, text) if self._pattern else text
        return _LOGIN.sub(f"{HIDDEN}@", hidden)

    def __repr__(self) -> str:
        return "Secrets()"


def secrets_of(identity: Identity, ytdlp_options: Mapping[str, Any]) -> Secrets:
    """What of `identity` and of the options passed through is not to be shown."""
    return Secrets(_values(identity, ytdlp_options))


def _values(identity: Identity, ytdlp_options: Mapping[str, Any]) -> Iterator[str]:
    if identity.proxy:
        parts = urlsplit(identity.proxy)
        if parts.username or parts.password:
            yield identity.proxy
            yield parts.netloc.rpartition("@")[0]
        # One letter is no password worth a text full of stars; the login itself is hidden above.
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
        # What cannot be read is not sent either; that it cannot is said where it is needed.
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
