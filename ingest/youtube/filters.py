"""What a search asks of its results: as YouTube's own filter where it has one, and checked by ourselves.

YouTube filters roughly (a class of lengths, this month, Creative Commons), and a page of results says little
(a length; "3 years ago"). So a filter is used where it loses nothing that is wanted, the exact bounds are
checked on what is known, and what is not known yet travels along as `VideoRef.filters`.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from typing import Any

from mien.ingest.errors import ConfigError
from mien.ingest.media import SearchFilter

SORT_BY_DATE = 2
_THIS_MONTH, _THIS_YEAR = 4, 5
_SHORT, _LONG, _MIDDLE = 1, 2, 3
# "A month ago" is a time that yt-dlp makes of the words: the latest that they may stand for, or a little off.
_SLACK = timedelta(days=2)
# What a list still names although nobody can see it; a video that is really called so is not lost by it.
_GONE = frozenset({"[Private video]", "[Deleted video]"})


def search_parameter(wanted: SearchFilter, *, newest_first: bool, today: date) -> str:
    """YouTube's `sp`: videos only, with the filters that lose nothing that is wanted.

    A protobuf message: 1 sort, 2 {1 published within, 2 kind, 3 length, 6 Creative Commons}, 30 "these words,
    not similar ones". Seen in the site's own addresses and in yt-dlp's `_SEARCH_PARAMS` ("EgIQAfABAQ==").
    """
    filters = _field(1, _published(wanted.after, today)) + _field(2, 1) + _field(3, _length(wanted))
    filters += _field(6, int(wanted.licence == "cc"))
    message = _field(1, SORT_BY_DATE if newest_first else 0) + bytes([0x12, len(filters)]) + filters
    return base64.b64encode(message + bytes([0xF0, 0x01, 0x01])).decode()


def reason_against(entry: Mapping[str, Any], wanted: SearchFilter) -> str:
    """Why the video of a flat entry of yt-dlp is not wanted; "" where it may be.

    What is not known speaks for the video: this leaves out only what is sure. terms.py has the last word.
    """
    if entry.get("live_status") == "is_live":
        # It comes back as a recording, and would be refused for good as what it is now.
        return "live now"
    if entry.get("title") in _GONE and not entry.get("duration"):
        return "private or deleted"
    seconds = entry.get("duration")
    if seconds and wanted.min_seconds is not None and seconds < wanted.min_seconds:
        return "too short"
    if seconds and wanted.max_seconds is not None and seconds > wanted.max_seconds:
        return "too long"
    if wanted.after and (timestamp := entry.get("timestamp")):
        latest = datetime.fromtimestamp(timestamp, UTC).date() + _SLACK
        if latest < day(wanted.after):
            return f"published before {wanted.after}"
    return ""


def day(text: str) -> date:
    """Raises ConfigError where `text` is no YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"a date is written YYYY-MM-DD, as 2024-01-31; got {text!r}") from error


def _published(after: str, today: date) -> int:
    """ "This year" may mean since January or for twelve months: used where it is right either way."""
    if not after:
        return 0
    since = day(after)
    if since >= today.replace(day=1) and since <= today:
        return _THIS_MONTH
    return _THIS_YEAR if since >= date(today.year, 1, 1) else 0


def _length(wanted: SearchFilter) -> int:
    """The limits were 4 and 20 minutes, and became 3 and 20: used where it is right either way."""
    least, most = wanted.min_seconds or 0.0, wanted.max_seconds or float("inf")
    if most < 180:
        return _SHORT
    if least > 1200:
        return _LONG
    return _MIDDLE if least > 240 and most < 1200 else 0


def _field(number: int, value: int) -> bytes:
    """A small varint; 0 is left out, as protobuf does."""
    return bytes([number << 3, value]) if value else b""
