"""Reads a cookies file in Netscape's format into memory.

yt-dlp writes its cookies file back when it ends, so several workers would corrupt it, and it prints lines
that it cannot read. Therefore it gets a clean copy in memory, and the file on disk is only read.
"""

from __future__ import annotations

import re
import time
from dataclasses import dataclass
from pathlib import Path

from mien.ingest.errors import CookiesError

_HTTP_ONLY = "#HttpOnly_"
_FIELDS = 7
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_HEADER = "# Netscape HTTP Cookie File\n"
_CURE = "export them again in Netscape's format (cookies.txt)"
# Google's login cookies, the most significant first.
_LOGIN = ("LOGIN_INFO", "SAPISID", "__Secure-1PAPISID", "__Secure-3PAPISID", "SID", "__Secure-3PSID")


@dataclass(frozen=True, slots=True, repr=False)
class Cookie:
    domain: str
    name: str
    value: str
    expires_at: float
    """Seconds since the epoch; 0 for a session cookie."""
    line: str


def read_cookies(path: str) -> tuple[Cookie, ...]:
    """The cookies in the file at `path`, at least one.

    Raises:
        CookiesError: no such file, no permission, or not in Netscape's format. The message has no value.
    """
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8")
    except OSError as error:
        raise CookiesError(f"{path}: the cookies file cannot be read ({error.strerror}); {_CURE}") from None
    except UnicodeDecodeError:
        raise CookiesError(f"{path}: this is not a text file; {_CURE}") from None
    if text.lstrip()[:1] in {"[", "{"}:
        raise CookiesError(f"{path}: the cookies are in JSON; {_CURE}")
    cookies = []
    for number, line in enumerate(text.splitlines(), start=1):
        entry = line.removeprefix(_HTTP_ONLY)
        if not entry.strip() or entry.startswith("#"):
            continue
        fields = entry.split("\t")
        if len(fields) != _FIELDS or (fields[4] and not _NUMBER.fullmatch(fields[4])):
            raise CookiesError(f"{path}: line {number} does not have seven fields separated by tabs; {_CURE}")
        cookies.append(Cookie(fields[0], fields[5], fields[6], float(fields[4] or 0), entry))
    if not cookies:
        raise CookiesError(f"{path}: the file has no cookies; {_CURE}")
    return tuple(cookies)


def netscape(cookies: tuple[Cookie, ...]) -> str:
    """The text of a cookies file that holds `cookies`."""
    return _HEADER + "".join(f"{cookie.line}\n" for cookie in cookies)


def check_current(path: str, cookies: tuple[Cookie, ...], now: float | None = None) -> None:
    """Raises CookiesError if the login has expired or, without a login, every cookie."""
    moment = time.time() if now is None else now
    youtube = [cookie for cookie in cookies if "youtube" in cookie.domain or "google" in cookie.domain]
    login = [cookie for cookie in youtube if cookie.name in _LOGIN]
    if not youtube:
        raise CookiesError(f"{path}: it has no cookies of YouTube; export them while on youtube.com")
    relevant = login or youtube
    if all(0 < cookie.expires_at <= moment for cookie in relevant):
        day = time.strftime("%Y-%m-%d", time.gmtime(max(cookie.expires_at for cookie in relevant)))
        raise CookiesError(f"{path}: the cookies expired on {day}; export them again from a fresh session")
