"""One class per kind of source, which copies remote media into the cache.

`FETCHERS` maps URL schemes to classes. A new scheme is one class and one line there. Two fetchers are not
chosen by scheme: `PlatformFetcher` by the source of the video, and `RetainedFetcher` for retained copies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

from mien.ingest.errors import ConfigError, RejectedRequestError
from mien.ingest.media import Job
from mien.ingest.platforms import PLATFORMS
from mien.ingest.platforms.acceptance import AcceptancePolicy
from mien.ingest.rate.identity import DIRECT, Identity
from mien.ingest.storage.location import OBJECT_SCHEMES, redact

if TYPE_CHECKING:
    from mien.ingest.fetch.http import HttpDownloader
    from mien.ingest.fetch.partial_file import PartialFile


@dataclass(slots=True)
class FetchResult:
    """A file in the cache, and what fetching it took."""

    path: Path = Path()
    has_length: bool = True
    """Whether the server declared the length of the file."""
    is_continued: bool = False
    """Whether it continues an interrupted download."""
    retained_uri: str = ""
    """The retained copy that was read instead of fetching the video."""
    requests: int = 0
    bytes: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class FetchOptions:
    """What fetchers need to know of the stage."""

    timeout_seconds: float = 30.0
    allow_private_addresses: bool = False
    max_bytes: int | None = None
    attempts: int = 5
    identities: tuple[Identity, ...] = ()
    ytdlp_options: Mapping[str, Any] = field(default_factory=dict)
    acceptance: AcceptancePolicy = field(default_factory=AcceptancePolicy)


class Fetcher(Protocol):
    def __init__(self, options: FetchOptions) -> None: ...

    def fetch(self, job: Job, partial: PartialFile, result: FetchResult) -> None:
        """Fills `partial` with the media of `job`, and notes in `result` what that took.

        Raises FetchError, MediaError or StorageError.
        """
        ...


class HttpFetcher:
    """One file behind an http(s) URL."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._downloader: HttpDownloader | None = None

    @property
    def downloader(self) -> HttpDownloader:
        if self._downloader is None:
            from mien.ingest.fetch.http import HttpDownloader

            self._downloader = HttpDownloader(
                timeout_seconds=self._options.timeout_seconds,
                allow_private_addresses=self._options.allow_private_addresses,
                max_bytes=self._options.max_bytes,
                attempts=self._options.attempts,
            )
        return self._downloader

    def fetch(self, job: Job, partial: PartialFile, result: FetchResult) -> None:
        proxy = identity_of(job, self._options.identities).proxy
        result.has_length = self.downloader.download(job.video.uri, partial, proxy=proxy)


class ObjectFetcher:
    """One object of an object store."""

    def __init__(self, options: FetchOptions) -> None:
        self._max_bytes = options.max_bytes

    def fetch(self, job: Job, partial: PartialFile, result: FetchResult) -> None:
        from mien.ingest.fetch.objects import download_object

        download_object(job.video.uri, partial, max_bytes=self._max_bytes)


class PlatformFetcher:
    """One video of a platform, as the identity that was granted for it."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options

    def fetch(self, job: Job, partial: PartialFile, result: FetchResult) -> None:
        options = self._options
        downloader = PLATFORMS[job.video.source].downloader(
            ytdlp_options=options.ytdlp_options,
            policy=options.acceptance,
            timeout_seconds=options.timeout_seconds,
            max_bytes=options.max_bytes,
            allow_private_addresses=options.allow_private_addresses,
        )
        delivered = downloader.download(job.video, identity_of(job, options.identities), partial)
        partial.about = delivered.metadata.to_json()
        result.requests, result.bytes = delivered.requests, delivered.bytes


class RetainedFetcher:
    """The retained copy of a video, at `FetchResult.retained_uri`."""

    def __init__(self, options: FetchOptions) -> None: ...

    def fetch(self, job: Job, partial: PartialFile, result: FetchResult) -> None:
        from mien.ingest.fetch.retained import read_retained

        read_retained(result.retained_uri, partial)


FETCHERS: dict[str, type[Fetcher]] = {
    "http": HttpFetcher,
    "https": HttpFetcher,
    **dict.fromkeys(sorted(OBJECT_SCHEMES), ObjectFetcher),
}


class Fetchers:
    """One instance of each fetcher, made on first use."""

    def __init__(self, options: FetchOptions) -> None:
        self._options = options
        self._made: dict[type[Fetcher], Fetcher] = {}

    def fetcher_for(self, job: Job, *, is_retained: bool) -> Fetcher:
        """Raises RejectedRequestError for a URL scheme that has no fetcher."""
        scheme = urlsplit(job.video.uri).scheme
        kind: type[Fetcher] | None
        if is_retained:
            kind = RetainedFetcher
        elif job.video.source in PLATFORMS:
            kind = PlatformFetcher
        else:
            kind = FETCHERS.get(scheme)
        if kind is None:
            raise RejectedRequestError(
                f"{redact(job.video.uri)}: no fetcher for {scheme}://; check the address"
            )
        if kind not in self._made:
            self._made[kind] = kind(self._options)
        return self._made[kind]


def identity_of(job: Job, identities: Sequence[Identity]) -> Identity:
    """The identity that was granted for `job`; the first one if none was.

    Raises:
        ConfigError: the granted identity is not among `identities`.
    """
    if not job.identity:
        return identities[0] if identities else DIRECT
    for identity in identities:
        if identity.name == job.identity:
            return identity
    if job.identity == DIRECT.name:
        return DIRECT
    raise ConfigError(f"there is no identity named {job.identity}; add it to acquire.identities")
