"""One file at an http(s) address."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath
from urllib.parse import SplitResult, unquote, urlsplit, urlunsplit

from mien.ingest.errors import UsageError
from mien.ingest.media import VideoRef
from mien.ingest.naming import make_id, printable
from mien.ingest.sources.skipped import Skipped
from mien.ingest.storage.location import redact

_DEFAULT_PORTS = {"http": 80, "https": 443}


class HttpSource:
    def accepts(self, argument: str) -> bool:
        return argument.strip().lower().startswith(("http://", "https://"))

    def expand(self, argument: str, skipped: Skipped, extensions: frozenset[str]) -> Iterator[VideoRef]:
        url = normalised(argument)
        stem = PurePosixPath(unquote(urlsplit(url).path)).stem
        yield VideoRef(
            source="http", id=make_id(stem, url.encode()), uri=url, title=printable(stem), query=url
        )


def normalised(url: str) -> str:
    """`url` in normal form: two spellings of one address are one video.

    Raises:
        UsageError: there is no host, the port is invalid, or the URL contains a user or password, which would
            be stored and shown.
    """
    try:
        url.encode("utf-8")
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError as error:
        raise UsageError(f"{redact(url)}: not a valid address ({error}); write https://host/path") from error
    if parts.username is not None or parts.password is not None:
        raise UsageError(
            f"{redact(url)}: the address contains a user or password, which would be stored; "
            "use an address without one, or put the file into a bucket"
        )
    host = parts.hostname
    if not host:
        raise UsageError(f"{redact(url)}: the address has no host; write https://host/path")
    shown = f"[{host}]" if ":" in host else host
    netloc = shown if port in {None, _DEFAULT_PORTS[parts.scheme]} else f"{shown}:{port}"
    return urlunsplit(SplitResult(parts.scheme, netloc, parts.path or "/", parts.query, ""))
