"""The metadata of a video before its media is requested, and whether the run accepts the video."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any, Literal

from mien.ingest.errors import (
    AgeGateError,
    ConfigError,
    FilteredOutError,
    LiveError,
    MienError,
    PremiereError,
    one_line,
)
from mien.ingest.media import SearchFilter, VideoRef

POST_LIVE_SECONDS = 6 * 3600.0
"""A stream that has just ended becomes a recording some hours later."""

# yt-dlp turns "a month ago" into the latest time that the words may mean, or slightly later.
_DATE_SLACK = timedelta(days=2)
# Titles of entries that a list still names although nobody can see them.
_INVISIBLE = frozenset({"[Private video]", "[Deleted video]"})
_JOINERS = "\u200c\u200d"
"""U+200C and U+200D: used inside emoji and inside words of Persian or Hindi."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoMetadata:
    """The part of yt-dlp's info dict that mien uses."""

    title: str = ""
    channel: str = ""
    channel_id: str = ""
    licence: str = ""
    upload_date: str = ""
    """YYYY-MM-DD; "" if the platform does not say."""
    language: str = ""
    """Language of the speech, BCP 47."""
    age_limit: int = 0
    """Years."""
    duration_seconds: float | None = None
    """As declared by the platform, mostly in whole seconds."""
    live_status: str = ""
    """"not_live", "is_live", "is_upcoming", "was_live", "post_live"."""
    begins_at: float | None = None
    """Start of an upcoming stream, in seconds since the epoch."""

    def enrich(self, video: VideoRef) -> VideoRef:
        """`video` with the facts it lacks; the title is the platform's."""
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
        """Raises ValueError if `to_json` did not write `text`."""
        values = json.loads(text)
        if not isinstance(values, dict):
            raise ValueError(f"expected a JSON object; got {type(values).__name__}")
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptancePolicy:
    """Which videos of a platform a run accepts, regardless of the search."""

    format: str = ""
    """yt-dlp's format selector; "" for mien's own, up to 720p."""
    licence: Literal["any", "cc"] = "any"
    max_age_limit: int | None = None
    """Years; None for no limit."""
    after: str = ""
    """YYYY-MM-DD: published on this day or later."""


def metadata_of(info: Mapping[str, Any]) -> VideoMetadata:
    """The metadata in an info dict (yt_dlp/extractor/common.py documents the fields)."""
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
    metadata: VideoMetadata, video: VideoRef, policy: AcceptancePolicy, *, now: float
) -> MienError | None:
    """Why the media of `video` is not requested; None if it is accepted.

    Unknown facts count for the video, except the licence: platforms name it only if it is not their own.
    """
    name = video.key
    if metadata.live_status == "is_live":
        return LiveError(f"{name}: it is a live broadcast, not a recording")
    if metadata.live_status in {"is_upcoming", "post_live"}:
        waits = metadata.begins_at - now if metadata.begins_at is not None else POST_LIVE_SECONDS
        upcoming = metadata.live_status == "is_upcoming"
        what = "it has not started" if upcoming else "its recording is not ready"
        error = PremiereError(f"{name}: {what}; it is retried when it should be available")
        error.retry_after_seconds = max(0.0, waits) if upcoming else POST_LIVE_SECONDS
        return error
    if policy.max_age_limit is not None and metadata.age_limit > policy.max_age_limit:
        return AgeGateError(
            f"{name}: its age limit is {metadata.age_limit} years, acquire.max_age_limit is "
            f"{policy.max_age_limit}; raise acquire.max_age_limit to accept it"
        )
    required = SearchFilter(after=policy.after, licence="cc" if policy.licence == "cc" else "")
    reason = _mismatch(metadata, video, required)
    if reason is None and video.filters:
        mismatches = [_mismatch(metadata, video, each) for each in video.filters]
        reason = None if None in mismatches else mismatches[0]
    if reason is None:
        return None
    return FilteredOutError(one_line(f"{name}: {reason}; correct the filter and search again to accept it"))


def _mismatch(metadata: VideoMetadata, video: VideoRef, required: SearchFilter) -> str | None:
    seconds = metadata.duration_seconds or video.duration_seconds
    licence = metadata.licence or video.licence
    if required.licence == "cc" and not is_creative_commons(licence):
        return f"its licence is {licence or 'the platform’s own or unknown'}, Creative Commons is required"
    if required.after and metadata.upload_date and metadata.upload_date < required.after:
        return f"it was published on {metadata.upload_date}, before {required.after}"
    if required.language and metadata.language and _primary(metadata.language) != _primary(required.language):
        return f"its language is {metadata.language}, {required.language} is required"
    if required.min_seconds is not None and seconds is not None and seconds < required.min_seconds:
        return f"it is {seconds:g} s long, {required.min_seconds:g} s is the minimum"
    if required.max_seconds is not None and seconds is not None and seconds > required.max_seconds:
        return f"it is {seconds:g} s long, {required.max_seconds:g} s is the maximum"
    return None


def reason_against(entry: Mapping[str, Any], search_filter: SearchFilter) -> str:
    """Why a flat entry of yt-dlp does not pass `search_filter`; "" if it may.

    Unknown facts count for the video; `refusal` decides when all metadata is known.
    """
    if entry.get("live_status") == "is_live":
        # It becomes a recording later, but would be refused permanently now.
        return "live now"
    if entry.get("title") in _INVISIBLE and not entry.get("duration"):
        return "private or deleted"
    seconds = entry.get("duration")
    if seconds and search_filter.min_seconds is not None and seconds < search_filter.min_seconds:
        return "too short"
    if seconds and search_filter.max_seconds is not None and seconds > search_filter.max_seconds:
        return "too long"
    if search_filter.after and (timestamp := entry.get("timestamp")):
        latest = datetime.fromtimestamp(timestamp, UTC).date() + _DATE_SLACK
        if latest < day(search_filter.after):
            return f"published before {search_filter.after}"
    return ""


def day(text: str) -> date:
    """Raises ConfigError if `text` is not YYYY-MM-DD."""
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ConfigError(f"a date is written YYYY-MM-DD, as 2024-01-31; got {text!r}") from error


def is_creative_commons(licence: str) -> bool:
    """Accepts the wording of YouTube and the short names in searches and lists."""
    words = licence.casefold()
    return "creative commons" in words or words == "cc" or words.startswith(("cc-", "cc "))


def _primary(language: str) -> str:
    return language.casefold().replace("_", "-").partition("-")[0]


def _text(value: Any) -> str:
    """Text that JSON and SQL can hold: a title may contain half of a surrogate pair, or a NUL."""
    text = str(value or "").encode("utf-8", "replace").decode()
    return "".join(letter if letter.isprintable() or letter in _JOINERS else " " for letter in text).strip()
