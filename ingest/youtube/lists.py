"""Search results, channels and playlists, page by page, through yt-dlp as it is.

Nothing is resolved further than to flat entries: one request for each page, none for a video.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mien.ingest.errors import ConfigError, GoneError, MienError, RejectedRequestError
from mien.ingest.rate.identity import DIRECT, Identity
from mien.ingest.youtube.errors import translated
from mien.ingest.youtube.log import Log
from mien.ingest.youtube.options import asking_options
from mien.ingest.youtube.page_budget import PageBudget, PageSession, UnlimitedPageBudget
from mien.ingest.youtube.secrets import secrets_of

_DEPTH = 3
"""A channel's tabs, a playlist of a tab, its videos."""


@dataclass
class Lister:
    """Asks as whichever identity has leave; one that is refused is not used again."""

    identities: tuple[Identity, ...] = (DIRECT,)
    ytdlp_options: Mapping[str, Any] = field(default_factory=dict)
    timeout_seconds: float = 30.0
    leave: PageBudget = field(default_factory=UnlimitedPageBudget)
    """Asked before each request."""
    refused: dict[str, MienError] = field(default_factory=dict)
    """Why an identity is left alone, by its name."""
    requests: Counter[str] = field(default_factory=Counter)
    """Made so far, by identity."""

    def entries(self, url: str, *, name: str = "") -> Iterator[dict[str, Any]]:
        """The flat entries of a list (id, title, duration, channel, live_status …), as they come.

        `name` is what messages call the list; else they show its address.

        Raises:
            FetchError: what YouTube or the network answered, after what came before was yielded.
            ConfigError: an option that may not be passed on.
        """
        seen: set[str] = set()
        while True:
            identity = self._identity()
            try:
                for entry in self._asked_as(identity, url, name or url):
                    # Another identity begins anew, and a playlist may name a video twice.
                    if entry["id"] not in seen:
                        seen.add(entry["id"])
                        yield entry
                return
            except MienError as error:
                if not error.circuit:
                    raise
                self.refused[identity.name] = error
                if all(each.name in self.refused for each in self.identities):
                    # What was answered first says more than that the others rest already.
                    raise next(iter(self.refused.values())) from None

    def _identity(self) -> Identity:
        if left := [identity for identity in self.identities if identity.name not in self.refused]:
            return self.leave.first(left)
        raise next(iter(self.refused.values()), ConfigError("no identity to ask as"))

    def _asked_as(self, identity: Identity, url: str, name: str) -> Iterator[dict[str, Any]]:
        from mien.ingest.youtube.session import Meter, Session

        options = asking_options(
            identity, ytdlp_options=self.ytdlp_options, timeout_seconds=self.timeout_seconds
        )
        log: Log = options["logger"]
        options |= {"extract_flat": True, "skip_download": True, "noplaylist": False}
        arguments = options["extractor_args"].setdefault("youtubetab", {})
        arguments.setdefault("approximate_date", ["true"])  # "3 years ago" as a time
        if not identity.cookies_file:
            # The API alone will do; only who is logged in is told more by the web page.
            arguments.setdefault("skip", ["webpage"])
        turn: PageSession = self.leave.turn(identity)
        meter = Meter()
        meter.before = lambda: turn.before(meter.bytes)
        failed: MienError | None = None
        try:
            with contextlib.closing(Session(options, meter)) as youtube:
                for entry in _flat(youtube, {"url": url, "ie_key": None}, _DEPTH):
                    turn.after(meter.bytes)
                    yield entry
        except MienError as error:
            failed = error
            raise
        except Exception as error:
            # Whatever an extractor trips over is told in one line, with the list it was reading.
            if "HTTP Error 404" in str(error):
                failed = GoneError(f"{name}: there is no such channel or list; check the address")
                raise failed from None
            secrets = secrets_of(identity, self.ytdlp_options)
            failed = translated(
                error, name=name, secrets=secrets, warnings=log.warnings, failures=meter.failures
            )
            raise failed from error
        finally:
            turn.after(meter.bytes, failed)
            self.requests[identity.name] += meter.requests


def _flat(youtube: Any, wanted: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    """The videos behind an address. `process=False` leaves the pages unread until they are asked for."""
    found = youtube.extract_info(wanted["url"], download=False, process=False, ie_key=wanted["ie_key"])
    yield from _videos_of(youtube, found or {}, depth)


def _videos_of(youtube: Any, found: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
    kind = found.get("_type", "video")
    if kind == "playlist":
        for entry in found.get("entries") or ():
            yield from _videos_of(youtube, entry or {}, depth)
    elif kind in {"url", "url_transparent"}:
        if found.get("ie_key") == "Youtube" and found.get("id"):
            yield dict(found)
        elif depth and "youtube.com/" in str(found.get("url")):
            yield from _flat(youtube, {"url": found["url"], "ie_key": found.get("ie_key")}, depth - 1)
    elif found.get("id") and found.get("extractor_key", "Youtube") == "Youtube":
        yield dict(found)
    else:
        raise RejectedRequestError(f"{found.get('url')}: no list of videos; check the address")
