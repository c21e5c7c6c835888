"""What the double knows of a video, and every way in which it may go wrong."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from pathlib import Path


class Fault(StrEnum):
    """One way in which YouTube does not give a video. It may last, or pass after a number of answers."""

    # Instead of any answer, to whatever asks (searches and media as well).
    RATE_LIMITED = "rate limited"  # HTTP 429
    SERVER_ERROR = "server error"  # HTTP 503
    SEARCH_CUT = "search cut"  # HTTP 500 to every page of results but the first

    # Only the watch page; the player API answers correctly.
    PAGE_RATE_LIMITED = "page rate limited"  # HTTP 429
    PAGE_SORRY = "page sorry"  # led to Google's captcha, which is HTTP 429 too
    PAGE_BOT_WALL = "page bot wall"  # HTTP 200, and the player within the page says so

    # The player's answer, HTTP 200 as YouTube does it.
    BOT_WALL = "bot wall"
    SESSION_LIMIT = "session limit"  # "This content isn't available, try again later."
    PRIVATE = "private"
    REMOVED = "removed"
    TERMINATED = "terminated"  # the account is gone
    COPYRIGHT = "copyright"
    AGE_GATE = "age gate"
    GEO_BLOCK = "geo block"
    LIVE = "live"
    PREMIERE = "premiere"  # begins at `Video.premieres_at`
    MEMBERS_ONLY = "members only"
    NO_FORMATS = "no formats"
    OTHER_VIDEO = "other video"  # the answer is for another video: the address is blocked
    UNHEARD_OF = "unheard of"  # a reason that no table knows

    # The media alone, after a player's answer that was fine.
    MEDIA_FORBIDDEN = "media forbidden"  # HTTP 403
    MEDIA_RATE_LIMITED = "media rate limited"  # HTTP 429
    MEDIA_HTML = "media html"  # a web page, HTTP 200, video/mp4
    MEDIA_SLOW = "media slow"
    MEDIA_STALLED = "media stalled"  # no byte after the middle, until the client gives up
    MEDIA_RESET = "media reset"  # the connection is reset in the middle
    MEDIA_SHORT = "media short"  # half of the file, and the headers say that this is all
    MEDIA_WRONG_LENGTH = "media wrong length"  # half of what Content-Length says, then a polite close
    MEDIA_NOISE = "media noise"  # the right number of bytes, none of them video


PLAYER_FAULTS = frozenset(
    fault
    for fault in Fault
    if not fault.name.startswith(("MEDIA_", "PAGE_")) and fault is not Fault.SEARCH_CUT
)
PAGE_FAULTS = frozenset(fault for fault in Fault if fault.name.startswith("PAGE_"))
MEDIA_FAULTS = frozenset(fault for fault in Fault if fault.name.startswith("MEDIA_"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Video:
    """One video. Without `media` it can be found and described, and its media answers 404."""

    id: str
    """11 of [A-Za-z0-9_-]."""
    title: str = "A talk"
    later_titles: tuple[str, ...] = ()
    """The titles of later responses; the last one is repeated."""
    duration_seconds: float = 60.0
    """As YouTube declares it, independent of the media."""
    channel: str = "Faces"
    """Its name; its handle is that in letters and digits, its id is made of it."""
    creative_commons: bool = False
    uploaded: date = date(2024, 5, 17)
    language: str = "en"
    """Of the speech; "" if YouTube does not declare it."""
    age_limit: int = 0
    media: Path | None = None
    """An mp4 with picture and sound."""
    short: bool = False
    fault: Fault | None = None
    fault_times: int | None = None
    """The number of responses with the fault; None: all of them."""
    premieres_at: float = 0.0
    """Seconds since the epoch; for Fault.PREMIERE, which ends then."""

    def __post_init__(self) -> None:
        if len(self.id) != 11:
            raise ValueError(f"a video id has 11 characters; got {self.id!r}")

    @property
    def handle(self) -> str:
        return "@" + "".join(letter for letter in self.channel if letter.isalnum())

    @property
    def channel_id(self) -> str:
        plain = "".join(letter for letter in self.channel if letter.isascii() and letter.isalnum())
        return "UC" + (plain + "x" * 22)[:22]
