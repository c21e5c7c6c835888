"""The stage `fetch`: from a job to a validated file on this node."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import unquote, urlsplit

from mien.ingest.errors import (
    ChangedFileError,
    ConfigError,
    FetchError,
    GoneError,
    IncompleteTransferError,
    MediaError,
    MienError,
    NoVideoStreamError,
    TruncatedMediaError,
    one_line,
)
from mien.ingest.fetch import pins
from mien.ingest.fetch.cache import MediaCache
from mien.ingest.fetch.fetchers import Fetchers, FetchOptions, FetchResult
from mien.ingest.fetch.local import check_unchanged, sha256_of
from mien.ingest.fetch.retained import RetainedStore, discard_retained
from mien.ingest.fetch.sound_print import sound_print
from mien.ingest.media import Job, MediaFile
from mien.ingest.naming import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, extension_of, local_path
from mien.ingest.platforms import PLATFORMS
from mien.ingest.platforms.acceptance import AcceptancePolicy, VideoMetadata
from mien.ingest.rate.identity import Identity
from mien.ingest.storage.location import OBJECT_SCHEMES, redact

if TYPE_CHECKING:
    from mien.ingest.fetch.partial_file import PartialFile


SLACK_SECONDS, SLACK_SHARE = 2.0, 0.05
"""Tolerance between the declared duration, in whole seconds, and that of the content."""


@dataclass(kw_only=True)
class Fetch:
    """Reads local files in place; copies remote ones into a cache on this node first."""

    cache_dir: str = ""
    """Folder for remote media, on a local disk; "" for the user's cache folder."""
    cache_max_bytes: int = 50_000_000_000
    timeout_seconds: float = 30.0
    """A connection is given up after this long without data, or with less than 1 KiB/s."""
    allow_private_addresses: bool = False
    """Whether http(s) may reach loopback, private and link-local addresses."""
    max_bytes: int | None = None
    """Largest remote file; None: limited only by the cache."""
    attempts: int = 5
    """Attempts in a row without progress, within one call."""
    duplicates: Literal["skip", "keep"] = "skip"
    """What the run does with a file that has the same bytes as another video."""
    sound_prints: Literal["platforms", "always", "never"] = "platforms"
    """Whose files get an audio fingerprint, which finds re-encoded copies of a video."""
    identities: tuple[Identity, ...] = ()
    """Identities for platforms; each job names the one that was granted for it."""
    ytdlp_options: dict[str, Any] = field(default_factory=dict)
    acceptance: AcceptancePolicy = field(default_factory=AcceptancePolicy)
    """Which videos of platforms are accepted."""
    keep_uri: str = ""
    """Folder or object store for retained copies, which are read first; "": none are retained."""

    def __post_init__(self) -> None:
        for option in ("cache_max_bytes", "timeout_seconds", "max_bytes", "attempts"):
            value = getattr(self, option)
            if value is not None and value <= 0:
                raise ConfigError(f"fetch.{option} must be more than 0, got {value}; correct it")
        self._cache: MediaCache | None = None
        self._fetchers = Fetchers(
            FetchOptions(
                timeout_seconds=self.timeout_seconds,
                allow_private_addresses=self.allow_private_addresses,
                max_bytes=self.max_bytes,
                attempts=self.attempts,
                identities=self.identities,
                ytdlp_options=self.ytdlp_options,
                acceptance=self.acceptance,
            )
        )

    def open(self) -> None:
        """Loads libav once per worker; otherwise the first call does so."""
        import mien.ingest.probe  # noqa: F401

    @property
    def cache(self) -> MediaCache:
        if self._cache is None:
            import platformdirs

            folder = (
                Path(self.cache_dir) if self.cache_dir else platformdirs.user_cache_path("mien") / "media"
            )
            self._cache = MediaCache(folder, self.cache_max_bytes)
        return self._cache

    def __call__(self, job: Job) -> Iterable[MediaFile]:
        """One `MediaFile`.

        Raises:
            MediaError: the file is not usable. FetchError: it could not be fetched.
            StorageError: the cache failed.
        """
        path = local_path(job.video.uri)
        if path is not None:
            return [self._with_sound_print(_read(path, job))]
        with self._obtain(job) as result:
            try:
                media = self._with_sound_print(self._validated(job, result))
            except MienError as error:
                self.cache.discard(result.path)
                raised = self._explained(job, result, error)
                raised.usage_requests, raised.usage_bytes = result.requests, result.bytes
                raise raised from (None if raised is error else error)
            return [replace(media, retained_uri=self._retain(media, result))]

    def _with_sound_print(self, media: MediaFile) -> MediaFile:
        is_requested = self.sound_prints == "always" or (
            self.sound_prints == "platforms" and media.job.video.source in PLATFORMS
        )
        if media.audio is None or not is_requested:
            return media
        return replace(media, sound_print=sound_print(media.path))

    def _retain(self, media: MediaFile, result: FetchResult) -> str:
        known = media.job.media_uri or result.retained_uri
        if known or not self.keep_uri or urlsplit(media.job.video.uri).scheme in OBJECT_SCHEMES:
            return known
        return RetainedStore(self.keep_uri).publish(media, self.cache.about(result.path))

    @staticmethod
    def _explained(job: Job, result: FetchResult, error: MienError) -> MienError:
        """The error for an unusable file, depending on where it came from."""
        if result.retained_uri and isinstance(error, MediaError | IncompleteTransferError):
            discard_retained(result.retained_uri)
            return GoneError(f"{redact(result.retained_uri)}: the retained copy is broken ({error})")
        if isinstance(error, MediaError) and result.is_continued:
            return _resume_failed(job.video.uri, f"broken ({error})")
        if isinstance(error, MediaError) and job.video.source in PLATFORMS:
            return _as_retry(job, error)
        if isinstance(error, TruncatedMediaError) and not result.has_length:
            # Without a declared length, a broken connection looks like the end of the file.
            return IncompleteTransferError(
                f"{redact(job.video.uri)}: it had no declared length and ends too early; it is retried"
            )
        return error

    def _validated(self, job: Job, result: FetchResult) -> MediaFile:
        if job.video.source not in PLATFORMS:
            media = _read(str(result.path), job)
        else:
            metadata = _stored_metadata(self.cache.about(result.path))
            media = _read(str(result.path), replace(job, video=metadata.enrich(job.video)))
            _check_duration(media, metadata.duration_seconds or job.video.duration_seconds)
        return replace(media, usage_requests=result.requests, usage_bytes=result.bytes)

    @contextmanager
    def local_copy(self, media: MediaFile) -> Iterator[str]:
        """The path of `media` on this node; the file is not evicted inside the block.

        The file is fetched again if it was evicted or if another node fetched it: from the retained copy, if
        there is one.

        Raises:
            ChangedFileError: the file is now another one.
            FetchError: it came from a platform and no copy is retained; a second request has no budget.
        """
        uri = media.job.video.uri
        path = local_path(uri)
        if path is not None:
            yield path
            return
        job = replace(media.job, media_uri=media.retained_uri or media.job.media_uri)
        with self._obtain(job, before=media) as result:
            if result.path.stat().st_size != media.bytes:
                raise _changed(media)
            yield str(result.path)

    def cached(self) -> dict[str, Path]:
        """The pinned media in this node's cache, by the key of its video."""
        folder = Path(self.cache_dir)
        return dict(pins.marked(folder)) if self.cache_dir and folder.is_dir() else {}

    def release(self, media: MediaFile) -> None:
        """Called when the video is done: its copy in the cache is removed."""
        if local_path(media.job.video.uri) is None and self.cache.holds(media.path):
            self.cache.release(Path(media.path))

    @contextmanager
    def _obtain(self, job: Job, *, before: MediaFile | None = None) -> Iterator[FetchResult]:
        """`before`: the file as it was fetched first, which must not have changed."""
        uri = job.video.uri
        is_object = urlsplit(uri).scheme in OBJECT_SCHEMES
        result = FetchResult()

        def download(partial: PartialFile) -> None:
            result.retained_uri = job.media_uri
            if not result.retained_uri and self.keep_uri and not is_object:
                result.retained_uri = RetainedStore(self.keep_uri).find(job)
            if not result.retained_uri and job.video.source in PLATFORMS and before is not None:
                raise FetchError(
                    f"{job.key}: the media is no longer in this node's cache, or another node fetched it, "
                    "and no copy is retained; set acquire.keep_media to always, then retry it"
                )
            fetcher = self._fetchers.fetcher_for(job, is_retained=bool(result.retained_uri))
            fetcher.fetch(job, partial, result)
            result.is_continued = partial.is_continued
            if before is not None and partial.sha256() != before.sha256:
                raise _resume_failed(uri, "another file") if partial.is_continued else _changed(before)

        # Only the node that fetched a file first releases it. A pin on a copy that was fetched
        # again would fill the caches of other nodes for a day.
        pinned_by = job.key if before is None else ""
        with self.cache.obtain(uri, _extension(uri), download, pinned_by=pinned_by) as result.path:
            yield result


def _resume_failed(uri: str, what: str) -> IncompleteTransferError:
    return IncompleteTransferError(
        f"{redact(uri)}: fetched in two parts, the file is {what}; it is fetched again from the start"
    )


def _changed(media: MediaFile) -> ChangedFileError:
    return ChangedFileError(
        f"{redact(media.job.video.uri)}: the file is not the one that processing started with; retry it"
    )


def _stored_metadata(about: str) -> VideoMetadata:
    """The metadata that was stored when the video was fetched, by any process."""
    try:
        return VideoMetadata.from_json(about)
    except ValueError:
        return VideoMetadata()


def _check_duration(media: MediaFile, declared_seconds: float | None) -> None:
    """Raises IncompleteTransferError if the content is not as long as the platform says."""
    if declared_seconds is None:
        return
    difference = abs(media.duration_seconds - declared_seconds)
    if difference > max(SLACK_SECONDS, SLACK_SHARE * declared_seconds):
        raise IncompleteTransferError(
            f"{media.key}: got {media.duration_seconds:.1f} s of {declared_seconds:.1f} s declared; "
            "it is retried"
        )


def _as_retry(job: Job, error: MediaError) -> MediaError | IncompleteTransferError:
    """A platform plays its own videos, so unreadable media is an error page or was damaged in transfer."""
    if isinstance(error, NoVideoStreamError):
        return error
    return IncompleteTransferError(
        one_line(f"{job.key}: not a complete video ({type(error).__name__}: {error}); it is retried")
    )


def _extension(uri: str) -> str:
    """Extension of the cached file: libav uses it if the content is ambiguous."""
    extension = extension_of(unquote(urlsplit(uri).path))
    return extension if extension in MEDIA_EXTENSIONS | SOUND_EXTENSIONS else ""


def _read(path: str, job: Job) -> MediaFile:
    from mien.ingest.probe import probe

    sha256, info = sha256_of(path)
    try:
        media = probe(path, job=job, sha256=sha256, bytes=info.st_size)
    except MediaError:
        # A file that is still being copied looks broken; that it changes is the better reason.
        check_unchanged(path, info)
        raise
    check_unchanged(path, info)
    return media
