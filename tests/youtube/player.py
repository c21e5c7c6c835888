"""The player's answer: what may be played, or why not. The texts are those that YouTube uses."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from tests.youtube.streams import Stream
from tests.youtube.video import Fault, Video

Json = dict[str, Any]

# (status, reason, subreason)
_REFUSALS: dict[Fault, tuple[str, str, str]] = {
    Fault.BOT_WALL: (
        "LOGIN_REQUIRED",
        "Sign in to confirm you’re not a bot",
        "This helps protect our community. Learn more",
    ),
    Fault.SESSION_LIMIT: ("ERROR", "This content isn't available, try again later.", ""),
    Fault.PRIVATE: (
        "LOGIN_REQUIRED",
        "Private video",
        "Sign in if you've been granted access to this video",
    ),
    Fault.REMOVED: ("ERROR", "Video unavailable", "This video has been removed by the uploader"),
    Fault.TERMINATED: (
        "ERROR",
        "Video unavailable",
        "This video is no longer available because the YouTube account associated with this video has been "
        "terminated.",
    ),
    Fault.COPYRIGHT: (
        "ERROR",
        "Video unavailable",
        "This video is no longer available due to a copyright claim by Example Records",
    ),
    Fault.AGE_GATE: (
        "LOGIN_REQUIRED",
        "Sign in to confirm your age",
        "This video may be inappropriate for some users.",
    ),
    Fault.GEO_BLOCK: (
        "UNPLAYABLE",
        "Video unavailable",
        "The uploader has not made this video available in your country",
    ),
    Fault.MEMBERS_ONLY: (
        "UNPLAYABLE",
        "Join this channel to get access to members-only content like this video, and other exclusive perks.",
        "",
    ),
    Fault.UNHEARD_OF: ("ERROR", "The moon is in the wrong phase for this one", ""),
}
_UNKNOWN = ("ERROR", "Video unavailable", "This video is unavailable")


def player_response(
    video: Video | None, video_id: str, title: str, fault: Fault | None, streams: list[Stream], now: float
) -> Json:
    """The JSON of /youtubei/v1/player."""
    if video is None:
        return _refused(*_UNKNOWN)
    if fault is Fault.OTHER_VIDEO:
        return {**_refused(*_UNKNOWN), "videoDetails": {"videoId": "aaaaaaaaaaa"}}
    if fault in _REFUSALS:
        refused = _refused(*_REFUSALS[fault])
        if fault is Fault.AGE_GATE:
            refused["playabilityStatus"]["desktopLegacyAgeGateReason"] = 1
        return refused | {"videoDetails": {"videoId": video_id, "title": title}}
    answer = _described(video, title)
    if fault is Fault.PREMIERE and now < video.premieres_at:
        return answer | _premiere(video, answer, now)
    if fault is Fault.LIVE:
        answer["videoDetails"] |= {"isLive": True, "isLiveContent": True, "lengthSeconds": "0"}
        manifest = "https://manifest.googlevideo.com/api/manifest/hls_variant/live.m3u8"
        return answer | {"streamingData": {"hlsManifestUrl": manifest}}
    offered = [] if fault is Fault.NO_FORMATS else streams
    return answer | {
        "streamingData": {
            "expiresInSeconds": "21540",
            "formats": [_format(video, stream) for stream in offered if stream.progressive],
            "adaptiveFormats": [_format(video, stream) for stream in offered if not stream.progressive],
        }
    }


def walled(video_id: str) -> Json:
    """What the player within a watch page says to a visitor that is taken for a bot."""
    return _refused(*_REFUSALS[Fault.BOT_WALL]) | {"videoDetails": {"videoId": video_id, "title": ""}}


def _refused(status: str, reason: str, subreason: str) -> Json:
    message: Json = {"reason": {"simpleText": reason}}
    if subreason:
        message["subreason"] = {"simpleText": subreason}
    return {
        "playabilityStatus": {
            "status": status,
            "reason": reason,
            "errorScreen": {"playerErrorMessageRenderer": message},
        }
    }


def _described(video: Video, title: str) -> Json:
    answer: Json = {
        "playabilityStatus": {"status": "OK", "playableInEmbed": True},
        "videoDetails": {
            "videoId": video.id,
            "title": title,
            "lengthSeconds": str(int(video.duration_seconds)),
            "channelId": video.channel_id,
            "author": video.channel,
            "shortDescription": "",
            "viewCount": "1234",
            "isLiveContent": False,
            "isPrivate": False,
        },
        "microformat": {
            "playerMicroformatRenderer": {
                "lengthSeconds": str(int(video.duration_seconds)),
                "isFamilySafe": video.age_limit < 18,
                "isUnlisted": False,
                "ownerProfileUrl": f"http://www.youtube.com/{video.handle}",
                "externalChannelId": video.channel_id,
                "ownerChannelName": video.channel,
                "uploadDate": f"{video.uploaded.isoformat()}T10:00:00-07:00",
            }
        },
    }
    if video.language:
        track = {
            "baseUrl": f"https://www.youtube.com/api/timedtext?v={video.id}&lang={video.language}",
            "name": {"simpleText": f"{video.language} (auto-generated)"},
            "vssId": f"a.{video.language}",
            "languageCode": video.language,
            "kind": "asr",
            "isTranslatable": True,
        }
        answer["captions"] = {"playerCaptionsTracklistRenderer": {"captionTracks": [track]}}
    return answer


def _premiere(video: Video, answer: Json, now: float) -> Json:
    left = video.premieres_at - now
    count, unit = (round(left / 3600), "hour") if left >= 3600 else (max(1, round(left / 60)), "minute")
    slate = {"liveStreamOfflineSlateRenderer": {"scheduledStartTime": str(int(video.premieres_at))}}
    start = datetime.fromtimestamp(video.premieres_at, UTC).isoformat()
    microformat = answer["microformat"]["playerMicroformatRenderer"]
    return {
        "playabilityStatus": {
            "status": "LIVE_STREAM_OFFLINE",
            "reason": f"Premieres in {count} {unit}{'s' if count > 1 else ''}",
            "liveStreamability": {"liveStreamabilityRenderer": {"offlineSlate": slate}},
        },
        "videoDetails": answer["videoDetails"] | {"isUpcoming": True, "lengthSeconds": "0"},
        "microformat": {
            "playerMicroformatRenderer": microformat
            | {"liveBroadcastDetails": {"isLiveNow": False, "startTimestamp": start}}
        },
    }


def _format(video: Video, stream: Stream) -> Json:
    described: Json = {
        "itag": stream.itag,
        "url": f"https://rr1---sn-double.googlevideo.com/videoplayback?id={video.id}&itag={stream.itag}"
        "&source=youtube&expire=9999999999",
        "mimeType": f'{stream.mime}; codecs="{stream.codecs}"',
        "bitrate": 1_000_000 if stream.height_pixels else 128_000,
        "contentLength": str(stream.bytes),
        "approxDurationMs": str(int(video.duration_seconds * 1000)),
        "lastModified": "1700000000000000",
    }
    if stream.height_pixels:
        described |= {
            "width": stream.width_pixels,
            "height": stream.height_pixels,
            "fps": 25,
            "quality": "medium",
            "qualityLabel": f"{stream.height_pixels}p",
        }
    if stream.audio:
        described |= {
            "audioQuality": "AUDIO_QUALITY_MEDIUM",
            "audioSampleRate": "44100",
            "audioChannels": 2,
        }
    return described
