from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from yt_dlp import utils
from yt_dlp.cookies import CookieLoadError
from yt_dlp.networking import exceptions as network

from mien.ingest import errors
from mien.ingest.errors import MienError, Policy
from mien.ingest.platforms.secrets import Secrets
from mien.ingest.platforms.youtube.platform import YouTube
from mien.ingest.platforms.ytdlp.error_patterns import PATTERNS, seconds_until
from mien.ingest.platforms.ytdlp.errors import translated

NONE = Secrets(iter(()))
HINT = (
    ". Use --cookies-from-browser or --cookies for the authentication. See  "
    "https://github.com/yt-dlp/yt-dlp/wiki/FAQ  for how to manually pass cookies"
)
BUG = utils.bug_reports_message()

# What the player's `reason` and `subreason`, the alerts of pages and yt-dlp itself say, and its class.
MESSAGES: dict[str, type[MienError]] = {
    "Sign in to confirm you’re not a bot" + HINT: errors.BotWallError,
    "Sign in to confirm you're not a bot" + HINT: errors.BotWallError,
    "Sorry. YouTube is requiring a captcha challenge before playback": errors.BotWallError,
    "All player responses are invalid. Your IP is likely being blocked by Youtube": errors.BotWallError,
    "This content isn't available, try again later. The current session has been rate-limited by YouTube for "
    "up to an hour. It is recommended to use `-t sleep`": errors.RateLimitedError,
    "Video unavailable. This content isn’t available, try again later.": errors.RateLimitedError,
    "Unable to download webpage: HTTP Error 429: Too Many Requests": errors.RateLimitedError,
    "Private video. Sign in if you've been granted access to this video" + HINT: errors.PrivateVideoError,
    "Video unavailable. This video is private": errors.PrivateVideoError,
    "YouTube said: This playlist is private, use --username": errors.PrivateVideoError,
    "Video unavailable. This video has been removed by the uploader": errors.RemovedVideoError,
    "This video has been removed for violating YouTube's policy on hate speech.": errors.RemovedVideoError,
    "This video has been removed for violating YouTube's Community Guidelines": errors.RemovedVideoError,
    "Video unavailable. This video is no longer available because the YouTube account associated with this "
    "video has been terminated.": errors.RemovedVideoError,
    "Video unavailable. This video is no longer available because the uploader has closed their YouTube "
    "account.": errors.RemovedVideoError,
    "This video isn't available anymore": errors.RemovedVideoError,
    "This video is not available.": errors.RemovedVideoError,
    "Video unavailable": errors.RemovedVideoError,
    "YouTube said: The playlist does not exist.": errors.RemovedVideoError,
    "This live stream recording is not available.": errors.RemovedVideoError,
    "Video unavailable. This video is no longer available due to a copyright claim by Private Video Ltd": (
        errors.CopyrightError
    ),
    "This video is no longer available due to a copyright claim by Example Records": errors.CopyrightError,
    "Video unavailable. This video contains content from Example, who has blocked it on copyright grounds": (
        errors.CopyrightError
    ),
    "This video contains content from Example, who has blocked it in your country on copyright grounds": (
        errors.GeoBlockedError
    ),
    "The uploader has not made this video available in your country\nYou might want to use a VPN": (
        errors.GeoBlockedError
    ),
    "Video unavailable. This content is not available on this country domain due to a court order": (
        errors.GeoBlockedError
    ),
    "This video is not available from your location due to geo restriction": errors.GeoBlockedError,
    "Sign in to confirm your age. This video may be inappropriate for some users."
    + HINT: errors.AgeGateError,
    "This video is age-restricted and only available on YouTube": errors.AgeGateError,
    "Join this channel to get access to members-only content like this video": errors.MembersOnlyError,
    "This video is available to this channel's members on level: Gold": errors.MembersOnlyError,
    "This video requires payment to watch.": errors.PaymentRequiredError,
    "This video is only available to Music Premium members": errors.PaymentRequiredError,
    "Premieres in 2 hours": errors.PremiereError,
    "Premiere will begin shortly": errors.PremiereError,
    "This live event will begin in 3 days.": errors.PremiereError,
    "This live event will begin in a few moments.": errors.PremiereError,
    "This live event has ended.": errors.PremiereError,
    "We're processing this video. Check back later.": errors.PremiereError,
    "The channel is not currently live": errors.LiveError,
    "This video is DRM protected": errors.UnsupportedMediaError,
    "No video formats found!" + BUG: errors.NoFormatsError,
    "Requested format is not available. Use --list-formats for a list of available formats": (
        errors.NoFormatsError
    ),
    "Incomplete YouTube ID abc. URL https://x looks truncated.": errors.RejectedRequestError,
    "Unsupported URL: https://example.com": errors.RejectedRequestError,
    "unable to download: ('Unable to connect to proxy', OSError('Tunnel connection failed: 407'))": (
        errors.ProxyError
    ),
    "The page needs to be reloaded.": errors.FetchError,
    "Incomplete data received": errors.FetchError,
    "unable to write data: [Errno 28] No space left on device": errors.StorageFullError,
    "You have requested merging of multiple formats but ffmpeg is not installed. Aborting": (
        errors.MissingProgramError
    ),
    "failed to load cookies": errors.CookiesError,
    "\r[download] Got error: 14 bytes read, 20 more expected. Giving up after 3 retries": (
        errors.IncompleteTransferError
    ),
    "Failed to extract any player response" + BUG: errors.ExtractorError,
    "Signature extraction failed: Some traceback" + BUG: errors.ExtractorError,
    "The moon is in the wrong phase": errors.ExtractorError,
    "": errors.ExtractorError,
}


def asked(error: BaseException, **options: Any) -> MienError:
    return translated(error, name="youtube-abcdefghijk", secrets=NONE, rules=YouTube.rules, **options)


def refused(status: int, url: str, **headers: str) -> network.HTTPError:
    response = SimpleNamespace(status=status, reason="No", url=url, headers=headers)
    return network.HTTPError(response)


@pytest.mark.parametrize(("text", "kind"), MESSAGES.items(), ids=lambda value: str(value)[:40])
def test_each_pattern_has_its_class(text: str, kind: type[MienError]) -> None:
    for wrapped in (
        utils.DownloadError(f"ERROR: [youtube] abcdefghijk: {text}"),
        utils.ExtractorError(text, expected=True, video_id="abcdefghijk"),
    ):
        found = asked(wrapped)
        assert type(found) is kind, found
        assert "\n" not in str(found)
        assert "report this issue" not in str(found)
        assert text.strip()[:12] in str(found.__cause__)


def test_each_row_of_the_table_is_tried() -> None:
    texts = list(MESSAGES)
    untried = [row.kind.__name__ for row in PATTERNS if not any(row.pattern.search(text) for text in texts)]
    assert untried == ["FetchError", "FilteredOutError"]  # a lost connection, below; yt-dlp's own filters


MEDIA, PAGE = "https://rr1---sn.googlevideo.com/videoplayback", "https://www.youtube.com/youtubei/v1/player"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (refused(429, PAGE), errors.RateLimitedError),
        (refused(429, MEDIA), errors.RateLimitedError),
        (refused(402, PAGE), errors.RateLimitedError),
        (refused(403, MEDIA), errors.MediaForbiddenError),
        (refused(404, MEDIA), errors.MediaForbiddenError),
        (refused(403, PAGE), errors.ExtractorError),
        (refused(407, PAGE), errors.ProxyError),
        (refused(503, PAGE), errors.FetchError),
        (network.ProxyError("Unable to connect to proxy"), errors.ProxyError),
        (network.ProxyError("Unable to connect, RemoteDisconnected()"), errors.IncompleteTransferError),
        (network.TransportError("timed out"), errors.IncompleteTransferError),
        (network.IncompleteRead(5, 10), errors.IncompleteTransferError),
        (network.SSLError("bad handshake"), errors.IncompleteTransferError),
        (network.CertificateVerifyError("self-signed certificate"), errors.FetchError),
        (network.NoSupportingHandlers([], []), errors.IncompleteTransferError),
        (utils.ContentTooShortError(5, 10), errors.IncompleteTransferError),
        (utils.GeoRestrictedError("not here", countries=["DE"]), errors.GeoBlockedError),
        (utils.UserNotLive(), errors.LiveError),
        (utils.UnsupportedError("x"), errors.RejectedRequestError),
        (utils.PostProcessingError("Invalid data found"), errors.IncompleteTransferError),
        (CookieLoadError("failed to load cookies"), errors.CookiesError),
        (OSError(errno.ENOSPC, "No space left on device"), errors.StorageFullError),
        (OSError(errno.EACCES, "Permission denied"), errors.StorageDeniedError),
        (ConnectionResetError("reset"), errors.IncompleteTransferError),
        (KeyError("videoDetails"), errors.ExtractorError),
        (errors.LiveError("ours"), errors.LiveError),
    ],
    ids=lambda value: getattr(value, "__name__", type(value).__name__),
)
def test_each_exception_has_its_class(error: Exception, kind: type[MienError]) -> None:
    assert type(asked(error)) is kind
    wrapped = utils.DownloadError("ERROR: it failed", (type(error), error, None))
    assert type(asked(wrapped)) is kind, "however it is wrapped"


def test_answers_of_clients_come_first() -> None:
    nothing = utils.DownloadError("ERROR: [youtube] abcdefghijk: Failed to extract any player response")
    wall = "[youtube] abcdefghijk: Sign in to confirm you’re not a bot"
    assert (
        type(asked(nothing, warnings=["[youtube] some web client https formats", wall]))
        is errors.BotWallError
    )
    limited = asked(nothing, failures=[refused(429, PAGE, **{"Retry-After": "120"})])
    assert isinstance(limited, errors.RateLimitedError)
    assert limited.retry_after_seconds == 120
    assert type(asked(nothing, failures=[network.TransportError("x")])) is errors.IncompleteTransferError


def test_unknown_error_is_retried_and_reported() -> None:
    error = asked(utils.DownloadError("ERROR: [youtube] abcdefghijk: New words"), warnings=["before that"])
    assert (error.policy, error.circuit) == (Policy.RETRY, False)
    assert "New words; mien does not know this answer, please report it" in str(error)
    assert "before that" in str(error.__cause__)


def test_premiere_is_retried_later() -> None:
    assert [seconds_until(text) for text in ("in 90 minutes", "in an hour", "in a few moments", "soon")] == [
        5400,
        3600,
        60,
        None,
    ]


@given(text=st.text(), warnings=st.lists(st.text(), max_size=3))
@example(text="in ² hours", warnings=["Premieres in 99999999999999 hours"])
@example(text="Failed to extract any player response", warnings=["\0", "\ud800"])
def test_no_message_breaks_the_table(text: str, warnings: list[str]) -> None:
    for error in (utils.DownloadError(text), utils.ExtractorError(text), ValueError(text), OSError(text)):
        found = asked(error, warnings=warnings)
        assert isinstance(found, MienError)
        assert len(str(found).splitlines()) <= 1
        assert found.__cause__ is not None


@given(text=st.text(max_size=40))
def test_a_secret_is_in_no_message(text: str) -> None:
    secrets = Secrets(iter(["geheim-1234/5"]))
    error = utils.DownloadError(f"ERROR: {text} geheim-1234/5 {text} geheim-1234%2F5 http://u:x@h/")
    found = translated(
        error, name="youtube-x", secrets=secrets, warnings=[f"{text} geheim-1234/5"], rules=YouTube.rules
    )
    for shown in (str(found), str(found.__cause__)):
        assert "geheim-1234" not in shown
        assert "u:x" not in shown


def test_circles_of_causes_end() -> None:
    one, two = ValueError("one"), ValueError("two")
    one.__cause__, two.__cause__ = two, one
    assert type(asked(one)) is errors.ExtractorError
