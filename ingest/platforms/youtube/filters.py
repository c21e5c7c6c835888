"""YouTube's own search filters.

YouTube filters coarsely (a class of lengths, this month, Creative Commons). A filter of YouTube is used only
if it removes no matching video. Exact bounds are checked later, by `acceptance.reason_against` on the results
and by `acceptance.refusal` before the media is requested.
"""

from __future__ import annotations

import base64
from datetime import date

from mien.ingest.media import SearchFilter
from mien.ingest.platforms.acceptance import day

SORT_BY_DATE = 2
_THIS_MONTH, _THIS_YEAR = 4, 5
_SHORT, _LONG, _MIDDLE = 1, 2, 3


def search_parameter(search_filter: SearchFilter, *, newest_first: bool, today: date) -> str:
    """YouTube's `sp`: videos only, with the filters that remove no matching video.

    A protobuf message: 1 sort, 2 {1 published within, 2 kind, 3 length, 6 Creative Commons}, 30 "these words,
    not similar ones". Observed in the site's own addresses and in yt-dlp's `_SEARCH_PARAMS` ("EgIQAfABAQ==").
    """
    filters = (
        _field(1, _published(search_filter.after, today)) + _field(2, 1) + _field(3, _length(search_filter))
    )
    filters += _field(6, int(search_filter.licence == "cc"))
    message = _field(1, SORT_BY_DATE if newest_first else 0) + bytes([0x12, len(filters)]) + filters
    return base64.b64encode(message + bytes([0xF0, 0x01, 0x01])).decode()


def _published(after: str, today: date) -> int:
    """ "This year" may mean since January or for twelve months: used only if right for both."""
    if not after:
        return 0
    since = day(after)
    if since >= today.replace(day=1) and since <= today:
        return _THIS_MONTH
    return _THIS_YEAR if since >= date(today.year, 1, 1) else 0


def _length(search_filter: SearchFilter) -> int:
    """The limits were 4 and 20 minutes, and became 3 and 20: used only if it is right under both readings."""
    least, most = search_filter.min_seconds or 0.0, search_filter.max_seconds or float("inf")
    if most < 180:
        return _SHORT
    if least > 1200:
        return _LONG
    return _MIDDLE if least > 240 and most < 1200 else 0


def _field(number: int, value: int) -> bytes:
    """A small varint; 0 is left out, as protobuf does."""
    return bytes([number << 3, value]) if value else b""
