"""What was found out about a video before its media is asked for, and whether it is wanted at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal

from mien.ingest.errors import (
    AgeGateError,
    FilteredOutError,
    LiveError,
    MienError,
    PremiereError,
    one_line,
)
from mien.ingest.media import SearchFilter, VideoRef

POST_LIVE_SECONDS = 6 * 3600.0
"""A stream that has just ended is a recording some hours later."""

_JOINERS = "\u200c\u200d"
"""Within emoji, and within words of Persian or Hindi; U+200C and U+200D."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoMetadata:
    """A distillate of yt-dlp's info dict."""

    title: str = ""
    channel: str = ""
    channel_id: str = ""
    licence: str = ""
    upload_date: str = ""
    """YYYY-MM-DD; "" where YouTube does not say."""
    language: str = ""
    """Of the speech, BCP 47."""
    age_limit: int = 0
    """Years."""
    duration_seconds: float | None = None
    """As declared by YouTube, in whole seconds."""
    live_status: str = ""
    """"not_live", "is_live", "is_upcoming", "was_live", "post_live"."""
    begins_at: float | None = None
    """Of what is upcoming, in seconds since the epoch."""

    def enrich(self, video: VideoRef) -> VideoRef:
        """`video` with what it did not say of itself yet; the title is the platform's."""
        return replace(
            video,
            title=self.title or video.title,
            channel=self.channel or video.channel,
            licence=self.licence or video.licence,
            duration_seconds=video.duration_seconds or self.duration_seconds,
        )

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> VideoMetadata:
        """Raises ValueError where `text` is nothing that `to_json` wrote."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"a JSON object is expected; got {type(values).__name__}")
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptancePolicy:
    """What the run takes of a platform, whatever was searched for."""

    format: str = ""
    """yt-dlp's format selector; "" for mien's own, up to 720p."""
    licence: Literal["any", "cc"] = "any"
    max_age_limit: int | None = None
    """Years; None for no limit."""
    after: str = ""
    """YYYY-MM-DD: published on this day or later."""


def found_in(info: Mapping[str, Any]) -> VideoMetadata:
    """The distillate of an info dict (yt_dlp/extractor/common.py says what its fields mean)."""
    date = str(info.get("upload_date") or "")
    duration = info.get("duration")
    begins = info.get("release_timestamp")
    return VideoMetadata(
        title=_text(info.get("title") or info.get("fulltitle")),
        channel=_text(info.get("channel") or info.get("uploader")),
        channel_id=_text(info.get("channel_id")),
        licence=_text(info.get("license")),
        upload_date=f"{date[:4]}-{date[4:6]}-{date[6:]}" if len(date) == 8 and date.isdecimal() else "",
        language=_text(info.get("language")),
        age_limit=int(info.get("age_limit") or 0),
        duration_seconds=float(duration) if isinstance(duration, int | float) and duration > 0 else None,
        live_status=_text(info.get("live_status")),
        begins_at=float(begins) if isinstance(begins, int | float) else None,
    )


def refusal(
    found: VideoMetadata, video: VideoRef, terms: AcceptancePolicy, *, now: float
) -> MienError | None:
    """Why the media of `video` is not asked for; None where it is.

    What is not known is no reason, but for the licence: YouTube names it only where it is not its own.
    """
    name = video.key
    if found.live_status == "is_live":
        return LiveError(f"{name}: it is being broadcast now; it is no recording")
    if found.live_status in {"is_upcoming", "post_live"}:
        waits = found.begins_at - now if found.begins_at is not None else POST_LIVE_SECONDS
        upcoming = found.live_status == "is_upcoming"
        what = "it has not begun" if upcoming else "its recording is not ready"
        error = PremiereError(f"{name}: {what}; it is asked again when it should be there")
        error.retry_after_seconds = max(0.0, waits) if upcoming else POST_LIVE_SECONDS
        return error
    if terms.max_age_limit is not None and found.age_limit > terms.max_age_limit:
        return AgeGateError(
            f"{name}: it is for {found.age_limit} years and older, acquire.max_age_limit is "
            f"{terms.max_age_limit}; raise that to have it"
        )
    asked = SearchFilter(after=terms.after, licence="cc" if terms.licence == "cc" else "")
    reason = _lack(found, video, asked)
    if reason is None and video.filters:
        lacks = [_lack(found, video, wanted) for wanted in video.filters]
        reason = None if None in lacks else lacks[0]
    if reason is None:
        return None
    return FilteredOutError(one_line(f"{name}: {reason}; correct the filter and search again to have it"))


def _lack(found: VideoMetadata, video: VideoRef, wanted: SearchFilter) -> str | None:
    seconds = found.duration_seconds or video.duration_seconds
    licence = found.licence or video.licence
    if wanted.licence == "cc" and not is_creative_commons(licence):
        return f"its licence is {licence or 'YouTube’s own'}, Creative Commons was asked for"
    if wanted.after and found.upload_date and found.upload_date < wanted.after:
        return f"it was published on {found.upload_date}, before {wanted.after}"
    if wanted.language and found.language and _primary(found.language) != _primary(wanted.language):
        return f"its language is {found.language}, {wanted.language} was asked for"
    if wanted.min_seconds is not None and seconds is not None and seconds < wanted.min_seconds:
        return f"it is {seconds:g} s long, {wanted.min_seconds:g} s is the least"
    if wanted.max_seconds is not None and seconds is not None and seconds > wanted.max_seconds:
        return f"it is {seconds:g} s long, {wanted.max_seconds:g} s is the most"
    return None


def is_creative_commons(licence: str) -> bool:
    """For YouTube's wording, and for the short names that searches and lists write."""
    words = licence.casefold()
    return "creative commons" in words or words == "cc" or words.startswith(("cc-", "cc "))


def _primary(language: str) -> str:
    return language.casefold().replace("_", "-").partition("-")[0]


def _text(value: Any) -> str:
    """As text that JSON and SQL can hold: a title may hold half of a surrogate pair, or a NUL."""
    text = str(value or "").encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() or letter in _JOINERS else " " for letter in text).strip()
