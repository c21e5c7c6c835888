"""The wording of YouTube and yt-dlp for why a video cannot be fetched, and the error class for each.

YouTube's reasons come in English, whatever the country: yt-dlp asks for `hl=en`. Sources: the
player's `playabilityStatus` (yt_dlp/extractor/youtube/_video.py, "reason" and "subreason"), the alerts of
pages (_base.py, `_report_alerts`), and yt-dlp's own messages (YoutubeDL.py, extractor/common.py).

The first matching row wins, so more specific rows come first.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from mien.ingest.errors import (
    AgeGateError,
    BotWallError,
    CookiesError,
    CopyrightError,
    FetchError,
    FilteredOutError,
    GeoBlockedError,
    LiveError,
    MembersOnlyError,
    MienError,
    MissingProgramError,
    NoFormatsError,
    PaymentRequiredError,
    PremiereError,
    PrivateVideoError,
    ProxyError,
    RateLimitedError,
    RejectedRequestError,
    RemovedVideoError,
    StorageFullError,
    UnsupportedMediaError,
)


@dataclass(frozen=True, slots=True)
class ErrorPattern:
    kind: type[MienError]
    pattern: re.Pattern[str]
    cure: str


def _row(kind: type[MienError], cure: str, *patterns: str) -> ErrorPattern:
    return ErrorPattern(kind, re.compile("|".join(patterns), re.IGNORECASE), cure)


_APOSTROPHE = "(?:'|’|&#39;)?"
PATTERNS: tuple[ErrorPattern, ...] = (
    _row(
        CookiesError,
        "export them again from a fresh session",
        r"cookies are no longer valid",
        r"failed to load cookies",
        r"cookies file must be Netscape",
    ),
    _row(
        BotWallError,
        "this identity is paused; fewer requests an hour, other cookies or a PO token help",
        rf"confirm (?:that )?you{_APOSTROPHE}\s*(?:a)?re not a (?:ro)?bot",
        r"requiring a captcha challenge",
        r"IP is likely being blocked",
        r"unusual traffic from your",
        r"Our systems have detected",
    ),
    _row(
        RateLimitedError,
        "this identity is paused; lower its budgets",
        r"has been rate-limited by YouTube",
        rf"content isn{_APOSTROPHE}t available, try again later",
        r"HTTP Error 429",
        r"Too many requests",
        r"Resource has been exhausted",
        r"quota exceeded",
        r"HTTP Error 402",  # "Payment Required" was YouTube's rate limit before 429
    ),
    _row(
        AgeGateError,
        "cookies of an adult account give access",
        r"confirm your age",
        r"age[- ]restricted",
        r"age[- ]verification",
        r"inappropriate for some users",
        r"identified by the YouTube community as (?:being )?(?:inappropriate|offensive)",
    ),
    _row(
        GeoBlockedError,
        "an identity in another country may have access",
        r"not made this video available in your (?:country|region|location)",
        r"(?:not|isn.t) available in your (?:country|region|location)",
        r"blocked it in your (?:country|region)",
        r"not available on this country domain",
        r"geo[- ]?(?:restriction|blocked)",
        r"use a VPN or a proxy server",
    ),
    _row(
        CopyrightError,
        "its owner has blocked it",
        r"copyright (?:claim|grounds|infringement|strike)",
        r"who has blocked it",
        r"has been blocked (?:by|on)",
    ),
    _row(
        PrivateVideoError,
        "only its owner can see it",
        r"private video",
        r"video is private",
        rf"you{_APOSTROPHE}ve been granted access",
        r"playlist is private",
    ),
    _row(
        MembersOnlyError,
        "cookies of a member give access",
        r"members[- ]only",
        rf"available to this channel{_APOSTROPHE}s members",
        r"join this channel to get access",
        r"subscriber[- ]only",
    ),
    _row(
        PaymentRequiredError,
        "it is for sale",
        r"requires payment",
        r"only available to (?:Music|YouTube|Red)?\s*Premium",
        r"(?:Music|YouTube) Premium members",
        r"available for (?:rent|purchase)",
        r"purchase this video",
        r"rental",
    ),
    _row(UnsupportedMediaError, "encrypted media is not supported", r"DRM[- ]protected", r"Widevine"),
    _row(
        PremiereError,
        "it is retried when it should have started",
        r"\bPremieres?\b(?: in| on| will| \d)",
        r"premiere will begin",
        r"live event will begin",
        r"live stream will begin",
        rf"(?:we{_APOSTROPHE}re|still) processing this video",
        r"is being processed",
        r"live event has ended",
    ),
    _row(
        RemovedVideoError,
        "it is gone",
        r"live ?stream recording is not available",
        r"has been removed",
        r"no longer available",
        r"account (?:associated with this video )?has been (?:terminated|closed)",
        r"closed their YouTube account",
        rf"isn{_APOSTROPHE}t available any ?more",
        r"violat(?:es|ing|ion).{0,40}(?:Community Guidelines|Terms of Service|policy)",
        rf"(?:video|playlist|channel) (?:does not|doesn{_APOSTROPHE}t) exist",
        r"no such video",
    ),
    _row(
        LiveError,
        "it is not a recording",
        r"channel is not currently live",
        r"\blive stream is offline",
        r"video is no longer live",
        r"live[- ]from[- ]start",
    ),
    _row(
        RejectedRequestError,
        "correct the address",
        r"looks truncated",
        r"Unsupported URL",
        r"is not a valid URL",
        r"URL was given without video ID",
    ),
    _row(
        NoFormatsError,
        "it is retried; if this happens to all videos, update yt-dlp, and see `mien doctor` for JavaScript",
        r"Requested format is not available",
        r"No video formats found",
        r"only images are available",
        r"not available on this (?:app|device|browser)",
        r"watch (?:this video )?on (?:the latest version of )?YouTube",
        r"playback on other websites has been disabled",
        r"formats require a GVS PO Token",
        r"n challenge solving failed",
        r"no supported JavaScript runtime",
    ),
    # Lost while it was used, through whichever proxy: urllib3 calls that a ProxyError.
    _row(FetchError, "it is retried later", r"RemoteDisconnected", r"Connection ?Reset"),
    _row(
        ProxyError,
        "check that the proxy runs and accepts this login; `mien doctor` tests it",
        r"ProxyError\b",
        r"tunnel connection failed",
        r"proxy authentication required",
        r"unable to connect to (?:the )?proxy",
        r"SOCKS\d?(?: proxy|HTTP|Error)",
        r"unsupported proxy type",
    ),
    _row(MissingProgramError, "pip install imageio-ffmpeg", r"ffmpeg is not installed", r"ffmpeg not found"),
    _row(StorageFullError, "free some room", r"no space left on device", r"disk quota exceeded"),
    _row(
        FetchError,
        "it is retried later",
        r"HTTP Error 5\d\d",
        r"timed out",
        r"connection (?:refused|reset|aborted|broken)",
        r"name resolution|name or service not known|getaddrinfo",
        r"network is unreachable|no route to host",
        r"remote end closed|UNEXPECTED_EOF",
        r"TransportError\b",
        r"Incomplete data received",
        r"page needs to be reloaded",
        r"unknown error",
        r"internal (?:server )?error",
    ),
    _row(FilteredOutError, "", r"does not pass filter", r"because it is age restricted"),
    # "Video unavailable" alone: with a reason behind it, a row above has it.
    _row(
        RemovedVideoError,
        "it is gone",
        r"video (?:is )?unavailable",
        r"video is not available",
        r"content is not available",
        rf"(?:video|content) isn{_APOSTROPHE}t available",
    ),
)

# yt-dlp says only that it has nothing; the answers to the clients are in the warnings before it.
VAGUE = re.compile(
    r"Failed to extract any player response|No video formats found|Requested format is not available",
    re.IGNORECASE,
)

_RELATIVE = re.compile(
    r"\bin (?:(\d+|an?) (second|minute|hour|day|week|month)s?|a few (moments))", re.IGNORECASE
)
_SECONDS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "week": 604800, "month": 2592000}


def pattern_in(text: str) -> ErrorPattern | None:
    """The first row of the table that matches `text`."""
    return next((pattern for pattern in PATTERNS if pattern.pattern.search(text)), None)


def seconds_until(text: str) -> float | None:
    """ "Premieres in 3 hours" → 10800.0; None where no time is named."""
    match = _RELATIVE.search(text)
    if match is None:
        return None
    if match[3]:
        return 60.0
    count = int(match[1]) if match[1].isdecimal() and match[1].isascii() and len(match[1]) < 6 else 1
    return float(count * _SECONDS[match[2].lower()])
