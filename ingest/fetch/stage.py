"""The stage `fetch`: from a job to a file on this node that was read whole and probed."""

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
    RejectedRequestError,
    TruncatedMediaError,
)
from mien.ingest.fetch import pins
from mien.ingest.fetch.cache import MediaCache
from mien.ingest.fetch.http import HttpDownloader
from mien.ingest.fetch.keep import Keeper, discard_kept, read_kept
from mien.ingest.fetch.local import check_unchanged, sha256_of
from mien.ingest.fetch.platform import (
    PLATFORMS,
    FetchResult,
    as_retry,
    check_duration,
    found_beside,
    identity_of,
)
from mien.ingest.fetch.sound_print import sound_print
from mien.ingest.media import Job, MediaFile
from mien.ingest.rate.identity import Identity
from mien.ingest.sources.naming import MEDIA_EXTENSIONS, SOUND_EXTENSIONS, extension_of, local_path
from mien.ingest.storage.location import OBJECT_SCHEMES, redact
from mien.ingest.youtube.acceptance import AcceptancePolicy
from mien.ingest.youtube.download import YouTubeDownloader

if TYPE_CHECKING:
    from mien.ingest.fetch.partial_file import PartialFile


@dataclass(kw_only=True)
class Fetch:
    """Local files are read where they are; remote ones are brought into a cache on this node first."""

    cache_dir: str = ""
    """Of remote media, on a local disk; "" for the user's cache folder."""
    cache_max_bytes: int = 50_000_000_000
    timeout_seconds: float = 30.0
    """Without a byte (or with less than 1 KiB/s) for this long, a connection is given up."""
    allow_private_addresses: bool = False
    """Whether http(s) may reach loopback, private and link-local addresses."""
    max_bytes: int | None = None
    """Of a remote file; None for no limit but the cache's."""
    attempts: int = 5
    """Fruitless ones in a row, within one call."""
    duplicates: Literal["skip", "keep"] = "skip"
    """What the run does with a file whose bytes another video has: the stage itself cannot know."""
    sound_prints: Literal["platforms", "always", "never"] = "platforms"
    """Of whose files it is noted what they sound like, so that re-uploads are found that are no copies."""
    identities: tuple[Identity, ...] = ()
    """Ways out to a platform; each job names the one that was granted for it."""
    ytdlp_options: dict[str, Any] = field(default_factory=dict)
    terms: AcceptancePolicy = field(default_factory=AcceptancePolicy)
    """What is taken of a platform."""
    keep_uri: str = ""
    """Folder or object store that gets a copy of what was fetched, and is asked first; "": none is kept."""

    def __post_init__(self) -> None:
        for option in ("cache_max_bytes", "timeout_seconds", "max_bytes", "attempts"):
            value = getattr(self, option)
            if value is not None and value <= 0:
                raise ConfigError(f"fetch.{option} must be more than 0; got {value}")
        self._cache: MediaCache | None = None
        self._http: HttpDownloader | None = None

    def open(self) -> None:
        """Loads what fetching needs; otherwise the first call does so."""
        import mien.ingest.probe  # noqa: F401 (loads libav once per worker, not in the first call)

        self._http = HttpDownloader(
            timeout_seconds=self.timeout_seconds,
            allow_private_addresses=self.allow_private_addresses,
            max_bytes=self.max_bytes,
            attempts=self.attempts,
        )

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
            MediaError: what is wrong with the file. FetchError: what is wrong with getting it.
            StorageError: the cache.
        """
        path = local_path(job.video.uri)
        if path is not None:
            return [self._heard(_read(path, job))]
        with self._obtain(job) as got:
            try:
                media = self._heard(self._proven(job, got))
            except MienError as error:
                self.cache.discard(got.path)
                raised = self._judged(job, got, error)
                raised.usage_requests, raised.usage_bytes = got.requests, got.bytes
                raise raised from (None if raised is error else error)
            return [replace(media, retained_uri=self._keep(media, got))]

    def _heard(self, media: MediaFile) -> MediaFile:
        wanted = self.sound_prints == "always" or (
            self.sound_prints == "platforms" and media.job.video.source in PLATFORMS
        )
        if media.audio is None or not wanted:
            return media
        return replace(media, sound_print=sound_print(media.path))

    def _keep(self, media: MediaFile, got: FetchResult) -> str:
        known = media.job.media_uri or got.retained_uri
        if known or not self.keep_uri or urlsplit(media.job.video.uri).scheme in OBJECT_SCHEMES:
            return known
        return Keeper(self.keep_uri).publish(media, self.cache.about(got.path))

    @staticmethod
    def _judged(job: Job, got: FetchResult, error: MienError) -> MienError:
        """What it means that the file is of no use, seen from where it came from."""
        if got.retained_uri and isinstance(error, MediaError | IncompleteTransferError):
            discard_kept(got.retained_uri)
            return GoneError(f"{redact(got.retained_uri)}: the copy that was kept is broken ({error})")
        if isinstance(error, MediaError) and got.is_continued:
            return _begun_anew(job.video.uri, f"broken ({error})")
        if isinstance(error, MediaError) and job.video.source in PLATFORMS:
            return as_retry(job, error)
        if isinstance(error, TruncatedMediaError) and not got.announced:
            # Nobody said how long it is, so a broken connection looks like an end.
            return IncompleteTransferError(
                f"{redact(job.video.uri)}: it came without a length and ends too early; it is asked again"
            )
        return error

    def _proven(self, job: Job, got: FetchResult) -> MediaFile:
        if job.video.source not in PLATFORMS:
            media = _read(str(got.path), job)
        else:
            found = found_beside(self.cache.about(got.path))
            media = _read(str(got.path), replace(job, video=found.enrich(job.video)))
            check_duration(media, found.duration_seconds or job.video.duration_seconds)
        return replace(media, usage_requests=got.requests, usage_bytes=got.bytes)

    @contextmanager
    def local_copy(self, media: MediaFile) -> Iterator[str]:
        """The path of `media` on this node, kept from eviction while the block lasts.

        Fetched again where it was evicted, or where another node fetched it: from the copy that is kept, if
        there is one.

        Raises:
            ChangedFileError: what is there now is another file.
            FetchError: it came from a platform, and no copy is kept: asking again is outside of every budget.
        """
        uri = media.job.video.uri
        path = local_path(uri)
        if path is not None:
            yield path
            return
        job = replace(media.job, media_uri=media.retained_uri or media.job.media_uri)
        with self._obtain(job, again=media) as got:
            if got.path.stat().st_size != media.bytes:
                raise _another_file(media)
            yield str(got.path)

    def cached(self) -> dict[str, Path]:
        """The media in this node's cache that somebody wants, by the key of its video."""
        folder = Path(self.cache_dir)
        return dict(pins.marked(folder)) if self.cache_dir and folder.is_dir() else {}

    def release(self, media: MediaFile) -> None:
        """Says that the video is done: a copy in the cache gives its room back."""
        if local_path(media.job.video.uri) is None and self.cache.holds(media.path):
            self.cache.release(Path(media.path))

    @contextmanager
    def _obtain(self, job: Job, *, again: MediaFile | None = None) -> Iterator[FetchResult]:
        """`again`: what it was when it was fetched first, and has to be still."""
        uri = job.video.uri
        scheme = urlsplit(uri).scheme
        got = FetchResult()

        def download(slot: PartialFile) -> None:
            got.retained_uri = job.media_uri
            if not got.retained_uri and self.keep_uri and scheme not in OBJECT_SCHEMES:
                got.retained_uri = Keeper(self.keep_uri).find(job)
            if got.retained_uri:
                read_kept(got.retained_uri, slot)
            elif job.video.source in PLATFORMS and again is not None:
                raise FetchError(
                    f"{job.key}: it is not in this node's cache any more, or another node fetched it, and no "
                    "copy is kept; set acquire.keep_media to always, then retry it"
                )
            elif job.video.source in PLATFORMS:
                got.take(self._platform().download(job.video, identity_of(job, self.identities), slot), slot)
            elif scheme in OBJECT_SCHEMES:
                from mien.ingest.fetch.objects import download_object

                download_object(uri, slot, max_bytes=self.max_bytes)
            elif scheme in {"http", "https"}:
                if self._http is None:
                    self.open()
                assert self._http is not None  # noqa: S101
                proxy = identity_of(job, self.identities).proxy
                got.announced = self._http.download(uri, slot, proxy=proxy)
            else:
                raise RejectedRequestError(f"{redact(uri)}: {scheme}:// cannot be fetched; check the address")
            got.is_continued = slot.is_continued
            if again is not None and slot.sha256() != again.sha256:
                raise _begun_anew(uri, "another file") if slot.is_continued else _another_file(again)

        # What was fetched again can be had once more, and only the node that fetched it first may be told to
        # let go of it: marked as wanted, copies would fill the other nodes for a day.
        wanted_by = job.key if again is None else ""
        with self.cache.obtain(uri, _extension(uri), download, wanted_by=wanted_by) as got.path:
            yield got

    def _platform(self) -> YouTubeDownloader:
        return YouTubeDownloader(
            ytdlp_options=self.ytdlp_options,
            terms=self.terms,
            timeout_seconds=self.timeout_seconds,
            max_bytes=self.max_bytes,
        )


def _begun_anew(uri: str, what: str) -> IncompleteTransferError:
    return IncompleteTransferError(f"{redact(uri)}: had in two parts, it is {what}; it is begun anew")


def _another_file(media: MediaFile) -> ChangedFileError:
    return ChangedFileError(
        f"{redact(media.job.video.uri)}: it is another file than the one that was begun with; retry it"
    )


def _extension(uri: str) -> str:
    """Of the cached file: libav looks at it where the content leaves a doubt."""
    extension = extension_of(unquote(urlsplit(uri).path))
    return extension if extension in MEDIA_EXTENSIONS | SOUND_EXTENSIONS else ""


def _read(path: str, job: Job) -> MediaFile:
    from mien.ingest.probe import probe

    sha256, info = sha256_of(path)
    try:
        media = probe(path, job=job, sha256=sha256, bytes=info.st_size)
    except MediaError:
        # A file that is still being copied looks broken: that it changes is the truer reason.
        check_unchanged(path, info)
        raise
    check_unchanged(path, info)
    return media
