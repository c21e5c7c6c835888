"""yt-dlp with a meter: what it asks is counted, a refusal ends it, and a connection that comes in drops is
given up.

Imported only where a video is asked for: yt-dlp takes half a second.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import HTTPError, RequestError, TransportError

from mien.ingest.youtube.bot_detection import is_sorry_page, wall_in

MIN_BYTES_PER_SECOND = 1024
_REFUSALS = frozenset({402, 429})
_HOSTS = ("youtube.com", "youtube-nocookie.com", "google.com", "googlevideo.com", "googleapis.com")


class Refused(Exception):  # noqa: N818 (it is what was said; the table of errors names what went wrong)
    """The identity is not welcome. None of yt-dlp's own errors: after many of those it goes on asking."""


@dataclass(slots=True)
class Meter:
    """What one call took of its egress identity's budget."""

    requests: int = 0
    bytes: int = 0
    """Of bodies, as they were read: pages and media."""
    failures: list[BaseException] = field(default_factory=list)
    """Of single requests, many of which yt-dlp goes on after."""
    refused: Refused | None = None
    """Nothing more is asked after it."""
    before: Callable[[], None] = lambda: None
    """Called before each request: it waits until that may be made, or raises."""


# yt_dlp has no types.
class Session(YoutubeDL):  # type: ignore[misc]
    """One for each call: cookies, hooks and messages belong to one video."""

    def __init__(self, params: dict[str, Any], meter: Meter) -> None:
        self.meter = meter
        super().__init__(params)

    def extract_info(self, *arguments: Any, **options: Any) -> Any:
        info = super().extract_info(*arguments, **options)
        if self.meter.refused is not None:
            # Some part of yt-dlp swallowed it and went on without.
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
            self.meter.failures.append(error)
            if (
                isinstance(error, HTTPError)
                and error.status in _REFUSALS
                and _is_platform(error.response.url)
            ):
                raise self._refuse(f"HTTP Error {error.status}: {error.reason}") from error
            raise
        if is_sorry_page(response.url):
            raise self._refuse("Our systems have detected unusual traffic from your network")
        if hasattr(response, "fp"):
            response.fp = _Metered(response.fp, self.meter, float(self.params["socket_timeout"]))
            if urlsplit(response.url).path == "/watch":
                response.fp = _Watched(response.fp, self._refuse)
        return response

    def _refuse(self, said: str) -> Refused:
        self.meter.refused = Refused(said)
        return self.meter.refused


def _is_platform(url: Any) -> bool:
    """A PO token provider on this machine, say, refuses no identity."""
    host = (urlsplit(str(url)).hostname or "").lower()
    return any(host == name or host.endswith(f".{name}") for name in _HOSTS)


class _Watched:
    """The body of a watch page: a wall that it shows ends the call, whatever other clients would be told."""

    def __init__(self, body: Any, refuse: Callable[[str], Refused]) -> None:
        self._body, self._refuse, self._page = body, refuse, b""

    def read(self, amount: int | None = None, **options: Any) -> bytes:
        data: bytes = self._body.read(amount, **options)
        self._page += data
        if (amount is None or amount < 0 or not data) and (said := wall_in(self._page)):
            raise self._refuse(said)
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)


class _Metered:
    """A response's body. Reads what is there instead of waiting until all that was asked for has come."""

    def __init__(self, body: Any, meter: Meter, patience_seconds: float) -> None:
        self._body, self._meter, self._patience_seconds = body, meter, patience_seconds
        self._read_some = getattr(body, "read1", None)
        self._waited_seconds = 0.0
        self._came = 0

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

    def _watch(self, seconds: float, came: int) -> None:
        """A server that sends a byte now and then never times out, and holds its worker for days."""
        self._waited_seconds += seconds
        self._came += came
        if self._waited_seconds < self._patience_seconds:
            return
        if self._came < MIN_BYTES_PER_SECOND * self._waited_seconds:
            error = TransportError(f"only {self._came:,} bytes came in {self._waited_seconds:.0f} s")
            self._meter.failures.append(error)
            raise error
        self._waited_seconds, self._came = 0.0, 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._body, name)
