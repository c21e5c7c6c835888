"""Reads a cookies file in Netscape's format into memory.

yt-dlp writes its cookies file back when it ends, so several workers would corrupt it, and it prints lines
that it cannot read. Therefore it gets a clean copy in memory, and the file on disk is only read.
"""

from __future__ import annotations

import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.ingest.errors import CookiesError

if TYPE_CHECKING:
    from mien.ingest.platforms.platform import Platform

_HTTP_ONLY = "#HttpOnly_"
_FIELDS = 7
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_HEADER = "# Netscape HTTP Cookie File\n"
_CURE = "export them again in Netscape's format (cookies.txt)"


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


def check_current(
    path: str, cookies: tuple[Cookie, ...], platforms: Sequence[Platform], now: float | None = None
) -> None:
    """Raises CookiesError if none of `platforms` can use the cookies, or if they have expired for one.

    They have expired if every login cookie has or, without a login, every cookie of the platform.
    """
    moment = time.time() if now is None else now
    is_usable = not platforms
    for platform in platforms:
        own = [cookie for cookie in cookies if _is_of(cookie.domain, platform.cookie_domains)]
        relevant = [cookie for cookie in own if cookie.name in platform.login_cookies] or own
        if relevant and all(0 < cookie.expires_at <= moment for cookie in relevant):
            day = time.strftime("%Y-%m-%d", time.gmtime(max(cookie.expires_at for cookie in relevant)))
            raise CookiesError(
                f"{path}: the cookies expired on {day}; export them again from a fresh session"
            )
        is_usable = is_usable or bool(own)
    if not is_usable:
        titles = " or ".join(platform.title for platform in platforms)
        raise CookiesError(f"{path}: it has no cookies of {titles}; export them again while logged in there")


def _is_of(domain: str, domains: tuple[str, ...]) -> bool:
    name = domain.lower().lstrip(".")
    return not domains or any(name == each or name.endswith("." + each) for each in domains)
