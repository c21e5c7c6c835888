"""Lists of videos as YouTube sends them: search results, channels, playlists, and what is below a video."""

from __future__ import annotations

from datetime import date
from typing import Any

from tests.youtube.video import Fault, Video

Json = dict[str, Any]
_HIDDEN = {Fault.PRIVATE: "[Private video]", Fault.REMOVED: "[Deleted video]"}


def video_renderer(video: Video, title: str, today: date) -> Json:
    """One result of a search or one video of a channel."""
    channel = {
        "runs": [
            {
                "text": video.channel,
                "navigationEndpoint": {
                    "browseEndpoint": {
                        "browseId": video.channel_id,
                        "canonicalBaseUrl": f"/{video.handle}",
                    },
                    "commandMetadata": {"webCommandMetadata": {"url": f"/{video.handle}"}},
                },
            }
        ]
    }
    renderer: Json = {
        "videoId": video.id,
        "title": {"runs": [{"text": title}]},
        "ownerText": channel,
        "shortBylineText": channel,
        "publishedTimeText": {"simpleText": age_text(video.uploaded, today)},
        "viewCountText": {"simpleText": "1,234 views"},
        "lengthText": {"simpleText": clock_text(video.duration_seconds)},
    }
    if video.fault is Fault.LIVE:
        del renderer["lengthText"], renderer["publishedTimeText"]
        renderer["badges"] = [{"metadataBadgeRenderer": {"style": "BADGE_STYLE_TYPE_LIVE_NOW"}}]
    elif video.fault is Fault.PREMIERE:
        del renderer["lengthText"], renderer["publishedTimeText"]
        renderer["upcomingEventData"] = {"startTime": str(int(video.premieres_at))}
    elif video.fault is Fault.MEMBERS_ONLY:
        renderer["badges"] = [{"metadataBadgeRenderer": {"style": "BADGE_STYLE_TYPE_MEMBERS_ONLY"}}]
    if video.short:
        renderer["navigationEndpoint"] = {
            "commandMetadata": {"webCommandMetadata": {"url": f"/shorts/{video.id}"}}
        }
    return {"videoRenderer": renderer}


def playlist_renderer(video: Video, title: str, today: date) -> Json:
    """One video of a playlist; what is private or deleted keeps its place, without its name."""
    if video.fault in _HIDDEN:
        hidden = {"videoId": video.id, "title": {"simpleText": _HIDDEN[video.fault]}}
        return {"playlistVideoRenderer": hidden}
    renderer = video_renderer(video, title, today)["videoRenderer"]
    return {"playlistVideoRenderer": {**renderer, "lengthSeconds": str(int(video.duration_seconds))}}


def continuation(token: str) -> Json:
    return {
        "continuationItemRenderer": {
            "continuationEndpoint": {"continuationCommand": {"token": token, "request": "CONTINUATION"}}
        }
    }


def search_page(items: list[Json], token: str, *, first: bool) -> Json:
    sections: list[Json] = [{"itemSectionRenderer": {"contents": items}}]
    if token:
        sections.append(continuation(token))
    if not first:
        return {
            "onResponseReceivedCommands": [{"appendContinuationItemsAction": {"continuationItems": sections}}]
        }
    return {
        "contents": {
            "twoColumnSearchResultsRenderer": {
                "primaryContents": {"sectionListRenderer": {"contents": sections}}
            }
        }
    }


def channel_page(video: Video, items: list[Json], token: str) -> Json:
    """The first page of a channel's videos; `video` is any of the channel."""
    rich: list[Json] = [{"richItemRenderer": {"content": item}} for item in items]
    if token:
        rich.append(continuation(token))
    tab = {
        "title": "Videos",
        "selected": True,
        "endpoint": {"commandMetadata": {"webCommandMetadata": {"url": f"/{video.handle}/videos"}}},
        "content": {"richGridRenderer": {"contents": rich}},
    }
    return {
        "contents": {"twoColumnBrowseResultsRenderer": {"tabs": [{"tabRenderer": tab}]}},
        "metadata": {
            "channelMetadataRenderer": {
                "title": video.channel,
                "externalId": video.channel_id,
                "vanityChannelUrl": f"http://www.youtube.com/{video.handle}",
                "description": "",
            }
        },
    }


def playlist_page(name: str, items: list[Json], token: str) -> Json:
    contents = [*items, continuation(token)] if token else items
    inner = {"itemSectionRenderer": {"contents": [{"playlistVideoListRenderer": {"contents": contents}}]}}
    tab = {"selected": True, "content": {"sectionListRenderer": {"contents": [inner]}}}
    return {
        "contents": {"twoColumnBrowseResultsRenderer": {"tabs": [{"tabRenderer": tab}]}},
        "metadata": {"playlistMetadataRenderer": {"title": name}},
    }


def more_of_list(items: list[Json], token: str, *, rich: bool) -> Json:
    shown: list[Json] = [{"richItemRenderer": {"content": item}} for item in items] if rich else list(items)
    if token:
        shown.append(continuation(token))
    return {"onResponseReceivedActions": [{"appendContinuationItemsAction": {"continuationItems": shown}}]}


def below_video(video: Video | None) -> Json:
    """What stands under the player: the licence and the date, if there is such a video."""
    contents: list[Json] = []
    if video is not None:
        rows: list[Json] = []
        if video.creative_commons:
            text = {"simpleText": "Creative Commons Attribution license (reuse allowed)"}
            rows = [{"metadataRowRenderer": {"title": {"simpleText": "License"}, "contents": [text]}}]
        owner = {"videoOwnerRenderer": {"title": {"runs": [{"text": video.channel}]}}}
        uploaded = f"{video.uploaded:%b} {video.uploaded.day}, {video.uploaded.year}"
        contents = [
            {"videoPrimaryInfoRenderer": {"dateText": {"simpleText": uploaded}}},
            {
                "videoSecondaryInfoRenderer": {
                    "owner": owner,
                    "metadataRowContainer": {"metadataRowContainerRenderer": {"rows": rows}},
                }
            },
        ]
    return {"contents": {"twoColumnWatchNextResults": {"results": {"results": {"contents": contents}}}}}


def clock_text(seconds: float) -> str:
    """ "1:02:03", or "2:03"."""
    minutes, second = divmod(int(seconds), 60)
    hour, minute = divmod(minutes, 60)
    return f"{hour}:{minute:02}:{second:02}" if hour else f"{minute}:{second:02}"


def age_text(uploaded: date, today: date) -> str:
    """ "3 years ago": rounded down, as YouTube does."""
    days = max(0, (today - uploaded).days)
    for unit, length in (("year", 365), ("month", 30), ("week", 7), ("day", 1)):
        if days >= length:
            count = days // length
            return f"{count} {unit}{'s' if count > 1 else ''} ago"
    return "3 hours ago"
