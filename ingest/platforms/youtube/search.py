"""Lists the videos of a search, a channel or a playlist of YouTube."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from mien.ingest.media import SearchFilter, VideoRef
from mien.ingest.naming import printable
from mien.ingest.platforms.acceptance import reason_against
from mien.ingest.platforms.platform import NO_FILTER, Address, Lister
from mien.ingest.platforms.youtube.address import RESULTS, video
from mien.ingest.platforms.youtube.filters import search_parameter

SOURCE = "youtube"
_ID = re.compile(r"[A-Za-z0-9_-]{11}")


def find(
    lister: Lister,
    address: Address,
    *,
    search_filter: SearchFilter = NO_FILTER,
    limit: int | None = None,
    newest_first: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[VideoRef]:
    """See `Platform.find`."""
    most = min((count for count in (limit, address.limit) if count is not None), default=None)
    counted: Counter[str] = Counter() if left_out is None else left_out
    if address.kind == "video":
        if most != 0:
            yield _ref({"id": address.name}, query=address.url, search_filter=search_filter)
        return
    url, query = address.url, address.url
    if address.kind == "search":
        today = datetime.now(UTC).date()
        filters = search_parameter(search_filter, newest_first=newest_first, today=today)
        url = f"{RESULTS}?{urlencode({'search_query': address.name, 'sp': filters})}"
        query = address.name
    found = 0
    if most == 0:
        return
    for entry in lister.entries(url, name=query):
        if not _ID.fullmatch(str(entry["id"])):
            counted["no video"] += 1
        elif reason := reason_against(entry, search_filter):
            counted[reason] += 1
        else:
            yield _ref(entry, query=query, search_filter=search_filter)
            found += 1
            if found == most:
                return


def _ref(entry: dict[str, Any], *, query: str, search_filter: SearchFilter) -> VideoRef:
    seconds = entry.get("duration")
    return VideoRef(
        source=SOURCE,
        id=entry["id"],
        uri=video(entry["id"]).url,
        title=entry.get("title") or "",
        channel=entry.get("channel") or entry.get("uploader") or "",
        query=printable(query),
        duration_seconds=float(seconds) if seconds else None,
        filters=() if search_filter == NO_FILTER else (search_filter,),
    )
