"""yt-dlp with a meter: counts its requests, stops it after a refusal, and gives up very slow connections.

Import this module only to request something: importing yt-dlp takes half a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit
from urllib.request import BaseHandler, Request

from yt_dlp import YoutubeDL
from yt_dlp.downloader import get_suitable_downloader
from yt_dlp.downloader.bunnycdn import BunnyCdnFD
from yt_dlp.downloader.dash import DashSegmentsFD
from yt_dlp.downloader.f4m import F4mFD
from yt_dlp.downloader.hls import HlsFD
from yt_dlp.downloader.http import HttpFD
from yt_dlp.downloader.ism import IsmFD
from yt_dlp.downloader.mhtml import MhtmlFD
from yt_dlp.networking._urllib import UrllibRH
from yt_dlp.networking.exceptions import HTTPError, RequestError, TransportError

from mien.ingest.errors import MienError, RejectedRequestError, one_line
from mien.ingest.fetch.addresses import checked_addresses
from mien.ingest.platforms.ytdlp.rules import SiteRules

MIN_BYTES_PER_SECOND = 1024
_CHECKED_DOWNLOADERS = (HttpFD, HlsFD, DashSegmentsFD, F4mFD, IsmFD, MhtmlFD, BunnyCdnFD)
"""They request everything through `Session.urlopen`; all others start a program or open a socket."""
_ONLY_PUBLIC: dict[str, Any] = {
    "external_downloader": {"default": "native"},
    "hls_prefer_native": True,
    # If yt-dlp starts ffmpeg nevertheless, ffmpeg may not open a connection.
    "external_downloader_args": {"ffmpeg": [], "ffmpeg_i": ["-protocol_whitelist", "file,pipe,crypto,data"]},
}


class Refused(Exception):  # noqa: N818 (it is an answer; errors.py names what went wrong)
    """The identity is refused. Not one of yt-dlp's own errors, since yt-dlp continues after many of those."""

    retry_after = ""
    """The header of the refusal, if it had one."""


@dataclass(slots=True)
class Meter:
    """The usage of one call, charged to the budget of its egress identity."""

    requests: int = 0
    bytes: int = 0
    """Received in bodies of pages and media."""
    failures: list[BaseException] = field(default_factory=list)
    """Failures of single requests; yt-dlp continues after many of them."""
    refused: Refused | None = None
    """No request is made after it."""
    before: Callable[[], None] = lambda: None
    """Called before each request: waits until it is allowed, or raises."""


# yt_dlp has no types.
class Session(YoutubeDL):  # type: ignore[misc]
    """One instance per call: cookies, hooks and messages belong to one video."""

    def __init__(
        self, params: dict[str, Any], meter: Meter, rules: SiteRules, *, only_public: bool = False
    ) -> None:
        """`only_public`: hosts in private networks are refused, unless a proxy resolves the names."""
        self.meter = meter
        self.rules = rules
        self._only_public = only_public and not params.get("proxy")
        super().__init__({**params, **_ONLY_PUBLIC} if self._only_public else params)

    def build_request_director(self, handlers: Any, preferences: Any = None) -> Any:
        """With `only_public`, the only handler is the one that checks the host of each redirect, too."""
        return super().build_request_director(
            [_PublicUrllibRH] if self._only_public else handlers, preferences
        )

    def dl(self, name: str, info: dict[str, Any], *arguments: Any, **options: Any) -> Any:
        if self._only_public and info.get("url"):
            downloader = get_suitable_downloader(info, self.params, to_stdout=name == "-")
            if downloader not in _CHECKED_DOWNLOADERS:
                raise RejectedRequestError(
                    f"a format of the protocol {info.get('protocol')} is not downloaded, because its hosts "
                    "cannot be checked; choose another format or set fetch.allow_private_addresses"
                )
        return super().dl(name, info, *arguments, **options)

    def extract_info(self, *arguments: Any, **options: Any) -> Any:
        info = super().extract_info(*arguments, **options)
        if self.meter.refused is not None:
            # Some part of yt-dlp swallowed it and continued.
            raise self.meter.refused
        return info

    def urlopen(self, req: Any) -> Any:
        if self.meter.refused is not None:
            raise self.meter.refused
        self.meter.before()
        self.meter.requests += 1
        try:
            response = super().urlopen(req)
        except RequestError as error:
            if isinstance(error.cause, MienError):
                # The host may not be asked.
                raise error.cause from None
            self.meter.failures.append(error)
            if (
                isinstance(error, HTTPError)
                and error.status in self.rules.refusal_statuses
                and self.rules.is_own(error.response.url)
            ):
                wait = str(error.response.headers.get("Retry-After") or "")
                raise self._refuse(f"HTTP Error {error.status}: {error.reason}", wait) from error
            raise
        if self.rules.is_captcha(response.url):
            raise self._refuse("Our systems have detected unusual traffic from your network")
        if hasattr(response, "fp"):
            response.fp = _Metered(response.fp, self.meter, float(self.params["socket_timeout"]))
            if self.rules.wall_path and urlsplit(response.url).path == self.rules.wall_path:
                response.fp = _InspectedPage(response.fp, self.rules.wall_in, self._refuse)
        return response

    def _refuse(self, answer: str, retry_after: str = "") -> Refused:
        self.meter.refused = Refused(answer)
        self.meter.refused.retry_after = retry_after
        return self.meter.refused


class _HostCheck(BaseHandler):
    """Called by urllib before each request, with those that follow a redirect."""

    handler_order = 900
    """After the handlers that rewrite the URL."""

    def http_request(self, request: Request) -> Request:
        try:
            _check_public(request.full_url)
        except MienError as error:
            # yt-dlp passes on only errors of its own.
            raise RequestError(cause=error) from error
        return request

    https_request = ftp_request = http_request


class _PublicUrllibRH(UrllibRH):  # type: ignore[misc]
    """yt-dlp's handler of requests, which asks no host in a private network."""

    def _create_instance(self, *arguments: Any, **options: Any) -> Any:
        opener = super()._create_instance(*arguments, **options)
        opener.add_handler(_HostCheck())
        return opener


def _check_public(url: str) -> None:
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise RejectedRequestError(f"{one_line(url, 120)}: this is no URL") from None
    if not host or parts.scheme not in {"http", "https"}:
        raise RejectedRequestError(f"{one_line(url, 120)}: only http and https are requested")
    checked_addresses(host, port or (443 if parts.scheme == "https" else 80), allow_private=False)


class _InspectedPage:
    """The body of a page. If it shows a bot wall, the call ends, whatever other clients would be answered."""

    def __init__(self, body: Any, wall_in: Callable[[bytes], str], refuse: Callable[[str], Refused]) -> None:
        self._body, self._wall_in, self._refuse, self._page = body, wall_in, refuse, b""

    def read(self, amount: int | None = None, **options: Any) -> bytes:
        data: bytes = self._body.read(amount, **options)
        self._page += data
        if (amount is None or amount < 0 or not data) and (reason := self._wall_in(self._page)):
            raise self._refuse(reason)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


class _Metered:
    """The body of a response. Returns what has arrived instead of waiting for the requested amount."""

    def __init__(self, body: Any, meter: Meter, patience_seconds: float) -> None:
        self._body, self._meter, self._patience_seconds = body, meter, patience_seconds
        self._read_some = getattr(body, "read1", None)
        self._waited_seconds = 0.0
        self._received = 0

    def read(self, amount: int | None = None, **options: Any) -> bytes:
        if amount is None or amount < 0:
            return b"".join(iter(lambda: self.read(1 << 18, **options), b""))
        began = time.monotonic()
        try:
            data: bytes = (self._read_some or self._body.read)(amount, **options)
        except Exception as error:
            self._meter.failures.append(error)
            raise
        self._meter.bytes += len(data)
        self._watch(time.monotonic() - began, len(data))
        return data

    def _watch(self, seconds: float, received: int) -> None:
        """A server that sends a byte now and then never times out and would block a worker for days."""
        self._waited_seconds += seconds
        self._received += received
        if self._waited_seconds < self._patience_seconds:
            return
        if self._received < MIN_BYTES_PER_SECOND * self._waited_seconds:
            error = TransportError(f"only {self._received:,} bytes arrived in {self._waited_seconds:.0f} s")
            self._meter.failures.append(error)
            raise error
        self._waited_seconds, self._received = 0.0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)
