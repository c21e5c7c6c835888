"""From a sentence, a channel, a playlist or a video to the videos that it stands for."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

from mien.ingest.media import SearchFilter, VideoRef
from mien.ingest.sources.naming import printable
from mien.ingest.youtube.address import RESULTS, Address, is_youtube, parse, video
from mien.ingest.youtube.filters import reason_against, search_parameter
from mien.ingest.youtube.lists import Lister

SOURCE = "youtube"
_NOTHING = SearchFilter()
_ID = re.compile(r"[A-Za-z0-9_-]{11}")


def address_of(query: str) -> Address:
    """`query` as an address of YouTube if it is one, and else as the words of a search.

    Raises:
        UsageError: an address of YouTube that stands for no videos, or no words.
    """
    return parse(query) if is_youtube(query) else parse(f"ytsearchall:{query}")


def find(
    lister: Lister,
    address: Address,
    *,
    wanted: SearchFilter = _NOTHING,
    limit: int | None = None,
    newest_first: bool = False,
    left_out: Counter[str] | None = None,
) -> Iterator[VideoRef]:
    """The videos of `address` that are as `wanted`, as far as a list can tell, each once, in its order.

    `limit` counts the videos that are yielded; `left_out` gets what was passed over, by reason. Pages are
    asked for as they are needed.

    Raises:
        FetchError: what YouTube or the network answered; everything that came before was yielded.
    """
    most = min((count for count in (limit, address.limit) if count is not None), default=None)
    counted: Counter[str] = Counter() if left_out is None else left_out
    if address.kind == "video":
        if most != 0:
            yield _ref({"id": address.name}, query=address.url, wanted=wanted)
        return
    url, query = address.url, address.url
    if address.kind == "search":
        today = datetime.now(UTC).date()
        filters = search_parameter(wanted, newest_first=newest_first, today=today)
        url = f"{RESULTS}?{urlencode({'search_query': address.name, 'sp': filters})}"
        query = address.name
    found = 0
    if most == 0:
        return
    for entry in lister.entries(url, name=query):
        if not _ID.fullmatch(str(entry["id"])):
            counted["no video"] += 1
        elif reason := reason_against(entry, wanted):
            counted[reason] += 1
        else:
            yield _ref(entry, query=query, wanted=wanted)
            found += 1
            if found == most:
                return


def _ref(entry: dict[str, Any], *, query: str, wanted: SearchFilter) -> VideoRef:
    seconds = entry.get("duration")
    return VideoRef(
        source=SOURCE,
        id=entry["id"],
        uri=video(entry["id"]).url,
        title=entry.get("title") or "",
        channel=entry.get("channel") or entry.get("uploader") or "",
        query=printable(query),
        duration_seconds=float(seconds) if seconds else None,
        filters=() if wanted == _NOTHING else (wanted,),
    )
