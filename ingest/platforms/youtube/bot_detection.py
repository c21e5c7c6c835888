"""Detects YouTube's bot wall: a captcha, or a watch page that refuses the visitor.

yt-dlp reads a watch page only for its configuration and continues with other clients, so it does not report
a wall there.
"""

from __future__ import annotations

import json
import re
from urllib.parse import urlsplit

from mien.ingest.errors import MienError
from mien.ingest.platforms.ytdlp.error_patterns import pattern_in

_PLAYER = re.compile(r"ytInitialPlayerResponse\s*=\s*(?=\{)")
_SHUT = frozenset({"LOGIN_REQUIRED", "ERROR", "UNPLAYABLE"})


def is_sorry_page(url: object) -> bool:
    """Whether a request was redirected to Google's captcha."""
    parts = urlsplit(str(url))
    host = (parts.hostname or "").lower()
    return parts.path.startswith("/sorry") and (host == "google.com" or host.endswith(".google.com"))


def wall_in(page: bytes) -> str:
    """The player's reason on a watch page for refusing the visitor; "" if it does not refuse the visitor.

    Only the player's own answer counts: anybody can write such words into a title.
    """
    text = page.decode("utf-8", "replace")
    match = _PLAYER.search(text)
    if match is None:
        return ""
    try:
        answer, _ = json.JSONDecoder().raw_decode(text, match.end())
    except ValueError:
        return ""
    status = answer.get("playabilityStatus") if isinstance(answer, dict) else None
    if not isinstance(status, dict) or status.get("status") not in _SHUT:
        return ""
    reason = str(status.get("reason") or "")
    kind: type[MienError] | None = pattern.kind if (pattern := pattern_in(reason)) else None
    return reason if kind is not None and kind.circuit else ""
