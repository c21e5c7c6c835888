"""What a search asks of its results: as YouTube's own filter where it has one, and checked by ourselves.

YouTube filters roughly (a class of lengths, this month, Creative Commons), and a page of results says little
(a length; "3 years ago"). So a filter is used where it loses nothing that is wanted, the exact bounds are
checked on what is known, and what is not known yet travels along as `VideoRef.wanted`.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

from ingest.errors import ConfigError
from ingest.media import Wanted

SORT_BY_DATE = 2
_THIS_MONTH, _THIS_YEAR = 4, 5
_SHORT, _LONG, _MIDDLE = 1, 2, 3
# In words: the results of "a month ago" may be younger or older than 30 days by so much.
_SLACK = timedelta(days=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """What is known of a video; None: nothing yet."""

    seconds: float | None = None
    newest: date | None = None
    """The video was published on this day or before."""
    uploaded: date | None = None
    language: str | None = None
    licence: str | None = None


def search_parameter(wanted: Wanted, *, newest_first: bool, today: date) -> str:
    """YouTube's `sp`: videos only, with the filters that lose nothing that is wanted.

    A protobuf message: 1 sort, 2 {1 published within, 2 kind, 3 length, 6 Creative Commons}, 30 "these words,
    not similar ones". Seen in the site's own addresses and in yt-dlp's `_SEARCH_PARAMS` ("EgIQAfABAQ==").
    """
    filters = _field(1, _published(wanted.after, today)) + _field(2, 1) + _field(3, _length(wanted))
    filters += _field(6, int(wanted.licence == "cc"))
    message = _field(1, SORT_BY_DATE if newest_first else 0) + bytes([0x12, len(filters)]) + filters
    return base64.b64encode(message + bytes([0xF0, 0x01, 0x01])).decode()


def reason_against(wanted: Wanted, known: Known) -> str:
    """Why a video of which this is known is not wanted; "" where it may be.

    What is not known speaks for the video, so before its page was read this leaves out only what is sure.
    """
    seconds = known.seconds
    if wanted.min_seconds is not None and seconds is not None and seconds < wanted.min_seconds:
        return "too short"
    if wanted.max_seconds is not None and seconds is not None and seconds > wanted.max_seconds:
        return "too long"
    if wanted.after:
        after = day(wanted.after)
        latest = known.uploaded or (known.newest + _SLACK if known.newest else None)
        if latest is not None and latest < after:
            return f"published before {wanted.after}"
    if wanted.language and known.language and primary(known.language) != primary(wanted.language):
        return f"in {primary(known.language)}, not in {primary(wanted.language)}"
    if wanted.licence == "cc" and known.licence is not None and not is_creative_commons(known.licence):
        return "not under a Creative Commons licence"
    return ""


def refusal(wanted: tuple[Wanted, ...], known: Known) -> str:
    """Why a video is none that any of the searches which found it asks for; "" where it is.

    At download, when the page has been read: a video whose licence YouTube does not name has its standard
    licence, so pass `licence=""` and not None.
    """
    reasons = [reason_against(wish, known) for wish in wanted]
    return " or ".join(dict.fromkeys(reasons)) if reasons and all(reasons) else ""


def known_at_search(entry: dict[str, Any]) -> Known:
    """What a flat entry of yt-dlp says of its video."""
    seconds, timestamp = entry.get("duration"), entry.get("timestamp")
    return Known(
        seconds=float(seconds) if seconds else None,
        newest=datetime.fromtimestamp(timestamp, UTC).date() if timestamp else None,
    )


def known_at_download(info: dict[str, Any]) -> Known:
    """What yt-dlp's extracted info says of its video."""
    seconds, uploaded = info.get("duration"), info.get("upload_date")
    return Known(
        seconds=float(seconds) if seconds else None,
        uploaded=datetime.strptime(uploaded, "%Y%m%d").replace(tzinfo=UTC).date() if uploaded else None,
        language=info.get("language") or None,
        licence=info.get("license") or "",
    )


def is_creative_commons(licence: str) -> bool:
    return "creative commons" in licence.lower()


def day(text: str) -> date:
    """Raises ConfigError where `text` is no YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"a date is written YYYY-MM-DD, as 2024-01-31; got {text!r}") from error


def primary(language: str) -> str:
    """The primary subtag: pt of pt-BR."""
    return language.replace("_", "-").partition("-")[0].lower()


def _published(after: str, today: date) -> int:
    """ "This year" may mean since January or for twelve months: used where it is right either way."""
    if not after:
        return 0
    since = day(after)
    if since >= today.replace(day=1) and since <= today:
        return _THIS_MONTH
    return _THIS_YEAR if since >= date(today.year, 1, 1) else 0


def _length(wanted: Wanted) -> int:
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
