"""Who answers what: the paths of youtube.com and googlevideo.com that yt-dlp asks for."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from tests.youtube import pages
from tests.youtube.filters import matching
from tests.youtube.media import send_media
from tests.youtube.player import player_response, walled
from tests.youtube.proxy import Handler, Incoming
from tests.youtube.streams import streams_of
from tests.youtube.video import MEDIA_FAULTS, PAGE_FAULTS, PLAYER_FAULTS, Fault, Video

if TYPE_CHECKING:
    from tests.youtube.server import YouTubeDouble

Json = dict[str, Any]
Render = Callable[[Video, str, date], Json]

_REFUSED = frozenset({Fault.RATE_LIMITED, Fault.SERVER_ERROR})
_CONFIG = {"INNERTUBE_API_KEY": "double", "INNERTUBE_CONTEXT": {"client": {"visitorData": "double"}}}
_SORRY = "https://www.google.com/sorry/index?continue=https://www.youtube.com/watch"
_LIVE = "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=500000,RESOLUTION=640x360\nhttps://manifest.googlevideo.com/a.m3u8\n"


def answer(youtube: YouTubeDouble, handler: Handler, incoming: Incoming, video_id: str) -> None:
    """Answers one request."""
    path = incoming.path
    fault = youtube.take_fault(video_id, _kinds(path) | _REFUSED)
    if fault in _REFUSED or fault is Fault.PAGE_RATE_LIMITED:
        status = 503 if fault is Fault.SERVER_ERROR else 429
        handler.send_text(status, {"error": {"code": status, "message": "Resource has been exhausted"}})
    elif fault is Fault.PAGE_SORRY or path.startswith("/sorry/"):
        _sorry(handler, path)
    elif path.endswith("/player"):
        _player(youtube, handler, video_id, fault)
    elif _is_media(path):
        _media(youtube, handler, incoming, fault)
    elif path == "/youtubei/v1/search":
        _search(youtube, handler, incoming)
    elif path == "/youtubei/v1/navigation/resolve_url":
        _resolve(youtube, handler, incoming.body.get("url", ""))
    elif path == "/youtubei/v1/browse":
        _browse(youtube, handler, incoming)
    elif path == "/youtubei/v1/next":
        handler.send_text(200, pages.below_video(youtube.videos.get(video_id)))
    elif path.endswith(".m3u8"):
        handler.send_text(200, _LIVE, "application/vnd.apple.mpegurl")
    elif incoming.host.endswith("youtube.com") and incoming.method == "GET":
        _page(youtube, handler, incoming, video_id, fault)
    else:
        handler.send_text(404, {})


def _kinds(path: str) -> frozenset[Fault]:
    """A fault of the player is met when the player is asked, not when the page around it is."""
    if path.endswith("/player"):
        return PLAYER_FAULTS
    return PAGE_FAULTS if path == "/watch" else MEDIA_FAULTS if _is_media(path) else frozenset()


def _sorry(handler: Handler, path: str) -> None:
    if path.startswith("/sorry/"):
        handler.send_text(429, "<html>Our systems have detected unusual traffic</html>", "text/html")
        return
    handler.send_response(302)
    handler.send_header("Location", _SORRY)
    handler.send_header("Content-Length", "0")
    handler.end_headers()


def _is_media(path: str) -> bool:
    return path == "/videoplayback"


def _today(youtube: YouTubeDouble) -> date:
    return datetime.fromtimestamp(youtube.clock(), UTC).date()


def _player(youtube: YouTubeDouble, handler: Handler, video_id: str, fault: Fault | None) -> None:
    video = youtube.videos.get(video_id)
    streams = streams_of(video.media) if video is not None and video.media is not None else []
    title = youtube.title(video) if video is not None else ""
    handler.send_text(200, player_response(video, video_id, title, fault, streams, youtube.clock()))


def _media(youtube: YouTubeDouble, handler: Handler, incoming: Incoming, fault: Fault | None) -> None:
    video = youtube.videos.get(incoming.query.get("id", ""))
    streams = streams_of(video.media) if video is not None and video.media is not None else []
    found = [stream for stream in streams if str(stream.itag) == incoming.query.get("itag")]
    if video is None or not found:
        handler.send_text(404, {})
        return
    count = partial(youtube.count_bytes, video.id)
    send_media(handler, found[0].data, found[0].mime, fault, youtube.closing, count)


def _page_of(
    youtube: YouTubeDouble, videos: list[Video], token: str, render: Render
) -> tuple[list[Json], str]:
    """The renderers of a page, and the token of the next; a token is "kind:name:position"."""
    name, _, position = token.rpartition(":")
    start = int(position)
    end = start + youtube.page_size
    today = _today(youtube)
    items = [render(video, youtube.title(video), today) for video in videos[start:end]]
    return items, f"{name}:{end}" if end < len(videos) else ""


def _search(youtube: YouTubeDouble, handler: Handler, incoming: Incoming) -> None:
    body = incoming.body
    first = "continuation" not in body
    if not first and youtube.take_fault("", frozenset({Fault.SEARCH_CUT})):
        handler.send_text(500, {"error": {"code": 500, "message": "Internal error encountered."}})
        return
    query, params = body.get("query", ""), body.get("params", "")
    token = body.get("continuation") or f"search:{params}:{query}:0"
    _, params, rest = token.split(":", 2)
    query = rest.rpartition(":")[0]
    ids = youtube.results.get(query, list(youtube.videos))
    videos = [youtube.videos[one] for one in ids]
    if params:
        videos = matching(videos, params, _today(youtube))
    items, following = _page_of(youtube, videos, token, pages.video_renderer)
    handler.send_text(200, pages.search_page(items, following, first=first))


def _resolve(youtube: YouTubeDouble, handler: Handler, url: str) -> None:
    parts = urlsplit(url)
    listed = parse_qs(parts.query).get("list")
    steps = [step for step in parts.path.split("/") if step]
    name = steps[1] if steps[:1] == ["channel"] else steps[0] if steps else ""
    if listed:
        endpoint: Json = {"browseEndpoint": {"browseId": f"VL{listed[0]}"}}
    elif _channel(youtube, name):
        endpoint = {"browseEndpoint": {"browseId": name}}
    else:
        handler.send_text(404, {"error": {"code": 404, "message": "Requested entity was not found."}})
        return
    handler.send_text(200, {"endpoint": endpoint})


def _browse(youtube: YouTubeDouble, handler: Handler, incoming: Incoming) -> None:
    token = incoming.body.get("continuation")
    if token:
        kind, name, _ = token.split(":")
        rich = kind == "channel"
        videos = _channel(youtube, name) if rich else _listed(youtube, name)
        items, following = _page_of(
            youtube, videos, token, pages.video_renderer if rich else pages.playlist_renderer
        )
        handler.send_text(200, pages.more_of_list(items, following, rich=rich))
        return
    data = _browse_data(youtube, incoming.body.get("browseId", ""))
    if data is None:
        handler.send_text(404, {"error": {"code": 404, "message": "Requested entity was not found."}})
    else:
        handler.send_text(200, data)


def _browse_data(youtube: YouTubeDouble, name: str) -> Json | None:
    if name.startswith("VL"):
        listed = name.removeprefix("VL")
        if listed not in youtube.playlists and not listed.startswith("UU"):
            return {"alerts": [{"alertRenderer": {"type": "ERROR", "text": {"simpleText": _NO_LIST}}}]}
        items, following = _page_of(
            youtube, _listed(youtube, listed), f"playlist:{listed}:0", pages.playlist_renderer
        )
        return pages.playlist_page(listed, items, following)
    videos = _channel(youtube, name)
    if not videos:
        return None
    items, following = _page_of(youtube, videos, f"channel:{name}:0", pages.video_renderer)
    return pages.channel_page(videos[0], items, following)


_NO_LIST = "The playlist does not exist."


def _channel(youtube: YouTubeDouble, name: str) -> list[Video]:
    """The videos of a channel by handle or id, newest first as YouTube has them."""
    videos = [video for video in youtube.videos.values() if name in (video.handle, video.channel_id)]
    return sorted(videos, key=lambda video: video.uploaded, reverse=True)


def _listed(youtube: YouTubeDouble, name: str) -> list[Video]:
    if name.startswith("UU") and name not in youtube.playlists:
        return _channel(youtube, f"UC{name[2:]}")
    return [youtube.videos[one] for one in youtube.playlists.get(name, [])]


def _page(
    youtube: YouTubeDouble, handler: Handler, incoming: Incoming, video_id: str, fault: Fault | None
) -> None:
    """A web page, with the configuration and the data that yt-dlp reads out of it."""
    listed = incoming.query.get("list")
    steps = [step for step in incoming.path.split("/") if step]
    name = steps[1] if steps[:1] == ["channel"] and len(steps) > 1 else steps[0] if steps else ""
    data: Json | None = pages.below_video(youtube.videos.get(video_id))
    if listed:
        data = _browse_data(youtube, f"VL{listed}")
    elif name.startswith(("@", "UC")):
        data = _browse_data(youtube, name)
    if data is None:
        handler.send_text(404, "<html>This page isn't available.</html>", "text/html")
        return
    text = json.dumps(data).replace("</", "<\\/")
    script = f"ytcfg.set({json.dumps(_CONFIG)});var ytInitialData = {text};"
    if fault is Fault.PAGE_BOT_WALL:
        script += f"var ytInitialPlayerResponse = {json.dumps(walled(video_id))};"
    handler.send_text(200, f"<html><script>{script}</script></html>", "text/html")
