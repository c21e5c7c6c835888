"""The forms in which people write addresses of YouTube.

Every form of a video is stored as one URL: https://www.youtube.com/watch?v=ID.
Forms: yt_dlp/extractor/youtube/_video.py and _tab.py, `_VALID_URL`.
"""

from __future__ import annotations

import os
import re
from urllib.parse import parse_qs, urlencode, urlsplit

from mien.ingest.errors import UsageError, one_line
from mien.ingest.naming import printable
from mien.ingest.platforms.platform import Address

WATCH = "https://www.youtube.com/watch?v="
RESULTS = "https://www.youtube.com/results"

_HOSTS = frozenset({"youtube.com", "youtube-nocookie.com", "youtu.be", "youtubekids.com"})
_ID = re.compile(r"[A-Za-z0-9_-]{11}")
_LIST_ID = re.compile(r"(?:[A-Z]{2}[A-Za-z0-9_-]{10,}|UU[A-Za-z0-9_-]{22}|WL|LL)")
_HANDLE = re.compile(r"@[^\s/?#&\\]{2,60}")
_CHANNEL = re.compile(r"[^\s/?#&\\]{1,100}")
_SEARCH = re.compile(r"ytsearch(\d{1,6}|all)?:(.*)", re.DOTALL)
_VIDEO_FOLDERS = frozenset({"shorts", "embed", "live", "v", "e"})
_PLAYERS = frozenset({"embed", "v", "e"})
_NO_IDS_OF_PLAYERS = frozenset({"videoseries", "live_stream"})
"""Words that players accept instead of an id: for a list, or for what a channel shows now."""
_TABS = frozenset({"videos", "shorts", "streams", "playlists", "podcasts", "releases", "featured"})
_EXAMPLES = "give a video, a short, a playlist, a channel or @handle, or ytsearch20:words"


def is_youtube(argument: str) -> bool:
    """Whether `argument` has the form of a YouTube address; `parse` decides whether it is valid."""
    text = argument.strip()
    if _SEARCH.fullmatch(text):
        return True
    if text.startswith("@"):
        return bool(_HANDLE.fullmatch(text)) and not os.path.lexists(argument)
    return _host(text) in _HOSTS


def parse(argument: str) -> Address:
    """Parses `argument`. A watch address inside a playlist means only the video.

    Raises:
        UsageError: not an address of videos on YouTube.
    """
    text = argument.strip()
    if match := _SEARCH.fullmatch(text):
        return _search(match[1], match[2])
    if _HANDLE.fullmatch(text):
        return _channel(text, "")
    if _host(text) not in _HOSTS:
        raise _nothing(text)
    parts = urlsplit(text if "://" in text else f"https://{text}")
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    steps = [step for step in parts.path.split("/") if step]
    if (video_id := _video_id(parts.hostname or "", steps, query)) is not None:
        return video(video_id, text)
    return _list_or_search([*steps, "", "", ""][:3], query, text)


def _list_or_search(steps: list[str], query: dict[str, str], written: str) -> Address:
    first, second, third = steps
    if first in {"playlist", "watch", *_PLAYERS} and "list" in query:
        return _playlist(query["list"], written)
    if first in {"results", "search"} and (words := query.get("search_query") or query.get("q")):
        return _search("all", words)
    if first.startswith("@"):
        return _channel(first, second)
    if first in {"channel", "c", "user"} and _CHANNEL.fullmatch(second):
        return _channel(f"{first}/{second}", third)
    if first == "hashtag" and _CHANNEL.fullmatch(second):
        return Address(kind="list", name=f"#{second}", url=f"https://www.youtube.com/hashtag/{second}")
    raise _nothing(written)


def video(video_id: str, written: str = "") -> Address:
    """Raises UsageError if `video_id` is invalid."""
    if not _ID.fullmatch(video_id):
        raise UsageError(
            f"{_shown(written or video_id)}: a video's id has 11 letters, digits, - and _; "
            f"got {_shown(video_id)!r}; copy the whole address"
        )
    return Address(kind="video", name=video_id, url=WATCH + video_id)


def _host(text: str) -> str:
    """The domain of an address, without www., m., music. and the like; "" if it is not an address."""
    if "://" not in text:
        # Addresses as people paste them; any other word may name a file.
        bare = text.partition("/")[0].lower()
        if bare.partition(".")[0] not in {"www", "m", "music", "youtube", "youtu"} or os.path.lexists(text):
            return ""
        text = f"https://{text}"
    try:
        parts = urlsplit(text)
        host = (parts.hostname or "").lower().rstrip(".")
    except ValueError:
        return ""
    if parts.scheme.lower() not in {"http", "https"}:
        return ""
    return host if host in _HOSTS else ".".join(host.rsplit(".", 2)[-2:])


def _video_id(host: str, steps: list[str], query: dict[str, str]) -> str | None:
    """The id in the address, valid or not; None if it does not name a video."""
    if host.lower().endswith("youtu.be"):
        return steps[0] if steps else None
    if steps[:1] == ["watch"] and "v" in query:
        return query["v"]
    if len(steps) < 2 or steps[0] not in _VIDEO_FOLDERS:
        return None
    return None if steps[0] in _PLAYERS and steps[1] in _NO_IDS_OF_PLAYERS else steps[1]


def _search(count: str | None, words: str) -> Address:
    plain = " ".join(words.split())
    if not plain:
        raise UsageError("a search without words; write ytsearch20:people talking")
    limit = None if count == "all" else int(count or 1)
    if limit == 0:
        raise UsageError(f"ytsearch0:{_shown(plain)}: this finds nothing; write ytsearch20:…")
    url = f"{RESULTS}?{urlencode({'search_query': plain})}"
    return Address(kind="search", name=plain, url=url, limit=limit)


def _playlist(name: str, written: str) -> Address:
    if name.startswith("RD"):
        raise UsageError(
            f"{_shown(written)}: a mix is made for each viewer and does not end; "
            "give a playlist (PL…) or a channel"
        )
    if not _LIST_ID.fullmatch(name):
        raise UsageError(f"{_shown(written)}: {_shown(name)!r} is no playlist's id; copy the whole address")
    return Address(kind="list", name=name, url=f"https://www.youtube.com/playlist?list={name}")


def _channel(name: str, tab: str) -> Address:
    tail = f"/{tab}" if tab in _TABS else ""
    return Address(kind="list", name=f"{name}{tail}", url=f"https://www.youtube.com/{name}{tail}")


def _nothing(text: str) -> UsageError:
    return UsageError(f"{_shown(text)}: YouTube has no videos at this address; {_EXAMPLES}")


def _shown(text: str) -> str:
    return one_line(printable(text), 120)
