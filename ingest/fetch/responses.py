"""Interprets HTTP responses of a download: the position of the body, or the error."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from mien.ingest.errors import (
    AccessDeniedError,
    FetchError,
    GoneError,
    IncompleteTransferError,
    MienError,
    ProxyError,
    RateLimitedError,
    RejectedRequestError,
)

if TYPE_CHECKING:
    import httpx

_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


@dataclass(slots=True)
class Progress:
    """The facts about a file that are shared by all attempts to download it."""

    total_bytes: int | None = None
    validator: str | None = None
    """A strong ETag or a Last-Modified date: identifies the version of the file."""
    fruitless: int = 0
    """Attempts in a row without real progress."""


def refusal(response: httpx.Response, name: str) -> MienError | None:
    """The error that the status stands for, or None for 200 and 206."""
    status = response.status_code
    answer = f"{name}: the server answered {status} {response.reason_phrase}".rstrip()
    if status in {200, 206}:
        return None
    if status in {408, 425, 429} or status >= 500:
        later = (RateLimitedError if status == 429 else FetchError)(f"{answer}; it is retried later")
        later.retry_after_seconds = retry_after_seconds(response.headers.get("retry-after", ""))
        return later
    if status in {404, 410}:
        return GoneError(f"{answer}; the video does not exist any more")
    if status in {401, 402, 403, 451}:
        return AccessDeniedError(f"{answer}; it is not public")
    if status in {407, 416}:
        # 407 comes from the proxy, not the host. 416 means that the file has changed.
        changed = IncompleteTransferError(f"{answer}; the download starts over")
        return changed if status == 416 else ProxyError(f"{answer}; correct the login in the proxy's address")
    return RejectedRequestError(f"{answer}; check the address")


def retry_after_seconds(value: str) -> float | None:
    """RFC 9110, section 10.2.3: a number of seconds, or a date."""
    if value.strip().isdecimal():
        return float(value)
    moment = _moment(value)
    return None if moment is None else max(0.0, (moment - datetime.now(UTC)).total_seconds())


def begin(response: httpx.Response, progress: Progress, position: int, name: str) -> int:
    """The position at which the body of a 200 or 206 starts: 0, or `position`. Updates `progress`.

    Raises:
        IncompleteTransferError: the range does not match the file so far.
    """
    encoded = response.headers.get("content-encoding", "identity") != "identity"
    if response.status_code == 206:
        match = _CONTENT_RANGE.fullmatch(response.headers.get("content-range", ""))
        total = int(match[3]) if match and match[3] != "*" else progress.total_bytes
        other = _validator(response.headers) not in (None, progress.validator)  # the server ignored If-Range
        if other or match is None or int(match[1]) != position or total != progress.total_bytes:
            progress.total_bytes = progress.validator = None
            raise IncompleteTransferError(f"{name}: the server sent another range than requested")
        return position
    length = response.headers.get("content-length", "")
    progress.total_bytes = int(length) if length.isdecimal() and not encoded else None
    progress.validator = _validator(response.headers)
    return 0


def _validator(headers: httpx.Headers) -> str | None:
    """A strong ETag, or a Last-Modified date that is equally strong: at least one second before the response,
    since a file may change twice within a second (RFC 9110, sections 8.8.2.2 and 13.1.5)."""
    etag = headers.get("etag", "")
    if etag.startswith('"'):
        return str(etag)
    changed, answered = (_moment(headers.get(name, "")) for name in ("last-modified", "date"))
    if changed is None or answered is None or (answered - changed).total_seconds() < 1:
        return None
    return str(headers["last-modified"])


def _moment(value: str) -> datetime | None:
    try:
        moment = parsedate_to_datetime(value)
    except (ValueError, TypeError):
        return None
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment
