"""Reads search results, channels and playlists page by page, through unmodified yt-dlp.

Results are resolved only to flat entries: one request per page, none per video.
"""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from mien.ingest.errors import ConfigError, GoneError, MienError, RejectedRequestError
from mien.ingest.platforms.page_budget import PageBudget, PageSession, UnlimitedPageBudget
from mien.ingest.platforms.secrets import secrets_of
from mien.ingest.platforms.ytdlp.errors import translated
from mien.ingest.platforms.ytdlp.log import Log
from mien.ingest.platforms.ytdlp.options import request_options
from mien.ingest.platforms.ytdlp.rules import SiteRules
from mien.ingest.rate.identity import DIRECT, Identity

_DEPTH = 3
"""The tabs of a channel, a playlist of a tab, its videos."""


@dataclass
class YtDlpLister:
    """Asks as an identity whose budget has room; a refused identity is not used again."""

    rules: SiteRules

    identities: tuple[Identity, ...] = (DIRECT,)
    ytdlp_options: Mapping[str, Any] = field(default_factory=dict)
    timeout_seconds: float = 30.0
    page_budget: PageBudget = field(default_factory=UnlimitedPageBudget)
    """Asked before each request."""
    only_public: bool = False
    refused: dict[str, MienError] = field(default_factory=dict)
    """Why an identity is not used any more, by its name."""
    requests: Counter[str] = field(default_factory=Counter)
    """Requests so far, by identity."""

    def entries(self, url: str, *, name: str = "") -> Iterator[dict[str, Any]]:
        """Yields the flat entries of a list (id, title, duration, channel, live_status …) as they arrive.

        `mien_item` is the position in the outermost list, counted from 1; `mien_is_only`: there is no list.
        `name` is what messages call the list; the default is its URL.

        Raises:
            FetchError: an answer of the site or the network, after all earlier entries were yielded.
            ConfigError: an option that may not be passed on.
        """
        seen: set[tuple[str, str]] = set()
        while True:
            identity = self._identity()
            try:
                for entry in self._asked_as(identity, url, name or url):
                    # Another identity starts over, and a playlist may name a video twice.
                    key = (str(entry.get("ie_key") or ""), str(entry.get("id") or entry.get("url")))
                    if key not in seen:
                        seen.add(key)
                        yield entry
                return
            except MienError as error:
                if not error.circuit:
                    raise
                self.refused[identity.name] = error
                if all(each.name in self.refused for each in self.identities):
                    # The first refusal says more than a pause of the other identities.
                    raise next(iter(self.refused.values())) from None

    def _identity(self) -> Identity:
        if left := [identity for identity in self.identities if identity.name not in self.refused]:
            return self.page_budget.first(left)
        raise next(
            iter(self.refused.values()), ConfigError("there is no identity; add one to acquire.identities")
        )

    def _asked_as(self, identity: Identity, url: str, name: str) -> Iterator[dict[str, Any]]:
        from mien.ingest.platforms.ytdlp.session import Meter, Session

        options = request_options(
            identity, ytdlp_options=self.ytdlp_options, timeout_seconds=self.timeout_seconds
        )
        log: Log = options["logger"]
        options |= {"extract_flat": True, "skip_download": True, "noplaylist": False}
        for extractor, defaults in self.rules.list_arguments.items():
            arguments = options["extractor_args"].setdefault(extractor, {})
            for key, values in defaults.items():
                if not (key == "skip" and identity.cookies_file):
                    arguments.setdefault(key, values)
        pages: PageSession = self.page_budget.session(identity)
        meter = Meter()
        meter.before = lambda: pages.before(meter.bytes)
        failed: MienError | None = None
        try:
            session = Session(options, meter, self.rules, only_public=self.only_public)
            with contextlib.closing(session):
                for entry in self._flat(session, {"url": url}, _DEPTH):
                    pages.after(meter.bytes)
                    yield entry
        except MienError as error:
            failed = error
            raise
        except Exception as error:
            # Any error of an extractor becomes one line that names the list.
            if "HTTP Error 404" in str(error):
                failed = GoneError(f"{name}: there is no such channel or list; check the address")
                raise failed from None
            secrets = secrets_of(identity, self.ytdlp_options)
            failed = translated(
                error,
                name=name,
                secrets=secrets,
                warnings=log.warnings,
                failures=meter.failures,
                rules=self.rules,
            )
            raise failed from error
        finally:
            pages.after(meter.bytes, failed)
            self.requests[identity.name] += meter.requests

    def _flat(self, session: Any, entry: Mapping[str, Any], depth: int) -> Iterator[dict[str, Any]]:
        """The videos behind an address. `process=False` leaves pages unread until they are needed."""
        found = session.extract_info(entry["url"], download=False, process=False, ie_key=entry.get("ie_key"))
        yield from self._videos_of(session, found or {}, depth, is_top=True)

    def _videos_of(
        self, session: Any, found: Mapping[str, Any], depth: int, *, is_top: bool = False
    ) -> Iterator[dict[str, Any]]:
        kind = found.get("_type", "video")
        if kind in {"playlist", "multi_video"}:
            for number, entry in enumerate(found.get("entries") or (), start=1):
                # An entry without content counts, as for yt-dlp's option `playlist_items`.
                for video in self._videos_of(session, entry, depth) if entry else ():
                    # The outermost list sets the number last.
                    yield {**video, "mien_is_only": False, "mien_item": number}
            return
        use = self.rules.use_of(found)
        if kind in {"url", "url_transparent"} and use == "list":
            if depth:
                yield from self._flat(session, found, depth - 1)
        elif use == "video" and found.get("id" if kind == "video" else "url"):
            yield {**found, "mien_is_only": is_top}
        elif kind == "video":
            raise RejectedRequestError(f"{found.get('url')}: not a list of videos; check the address")
