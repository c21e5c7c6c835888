"""yt-dlp with a meter: what it asks is counted, and a connection that comes in drops is given up.

Imported only where a video is asked for: yt-dlp takes half a second.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Any

from yt_dlp import YoutubeDL
from yt_dlp.networking.exceptions import RequestError, TransportError

MIN_BYTES_PER_SECOND = 1024


@dataclass(slots=True)
class Meter:
    """What one call took of its egress identity's budget."""

    requests: int = 0
    bytes: int = 0
    """Of bodies, as they were read: pages and media."""
    failures: list[BaseException] = field(default_factory=list)
    """Of single requests, many of which yt-dlp goes on after."""


# yt_dlp has no types.
class Session(YoutubeDL):  # type: ignore[misc]
    """One for each call: cookies, hooks and messages belong to one video."""

    def __init__(self, params: dict[str, Any], meter: Meter) -> None:
        self.meter = meter
        super().__init__(params)

    def urlopen(self, req: Any) -> Any:
        self.meter.requests += 1
        try:
            response = super().urlopen(req)
        except RequestError as error:
            self.meter.failures.append(error)
            raise
        if hasattr(response, "fp"):
            response.fp = _Metered(response.fp, self.meter, float(self.params["socket_timeout"]))
        return response


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
