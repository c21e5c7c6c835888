"""What is different where a file comes from a video platform: whose name is used, what counts as proof."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mien.ingest.errors import ConfigError, IncompleteTransferError, MediaError, NoVideoStreamError, one_line
from mien.ingest.media import Job, MediaFile
from mien.ingest.rate.identity import DIRECT, Identity
from mien.ingest.youtube.acceptance import VideoMetadata

if TYPE_CHECKING:
    from mien.ingest.fetch.partial_file import PartialFile
    from mien.ingest.youtube.download import Delivered

PLATFORMS = frozenset({"youtube"})
"""Sources whose addresses are pages: something else than HTTP has to get the media."""
SLACK_SECONDS, SLACK_SHARE = 2.0, 0.05
"""Between the duration that the platform declares, in whole seconds, and that of the content."""


@dataclass(slots=True)
class FetchResult:
    """A file of the cache, and what it took to bring it there now."""

    path: Path = Path()
    announced: bool = True
    """Whether the server said how long it is."""
    is_continued: bool = False
    """Whether its beginning was had by a download that broke off."""
    retained_uri: str = ""
    """Of the kept copy that it was read from, instead of being fetched."""
    requests: int = 0
    bytes: int = 0

    def take(self, delivered: Delivered, slot: PartialFile) -> None:
        slot.about = delivered.found.to_json()
        self.requests, self.bytes = delivered.requests, delivered.bytes


def identity_of(job: Job, identities: Sequence[Identity]) -> Identity:
    """The one that was granted for `job`; where none was, the first.

    Raises:
        ConfigError: the granted one is not among `identities`.
    """
    if not job.identity:
        return identities[0] if identities else DIRECT
    for identity in identities:
        if identity.name == job.identity:
            return identity
    if job.identity == DIRECT.name:
        return DIRECT
    raise ConfigError(f"no identity is called {job.identity}; add it to acquire.identities")


def found_beside(about: str) -> VideoMetadata:
    """What was found out about the video when it was fetched, by whichever process that was."""
    try:
        return VideoMetadata.from_json(about)
    except ValueError:
        return VideoMetadata()


def check_duration(media: MediaFile, declared_seconds: float | None) -> None:
    """Raises IncompleteTransferError where the content is not as long as the platform says."""
    if declared_seconds is None:
        return
    apart = abs(media.duration_seconds - declared_seconds)
    if apart > max(SLACK_SECONDS, SLACK_SHARE * declared_seconds):
        raise IncompleteTransferError(
            f"{media.key}: {media.duration_seconds:.1f} s came, {declared_seconds:.1f} s were declared; "
            "it is asked again"
        )


def as_retry(job: Job, error: MediaError) -> MediaError | IncompleteTransferError:
    """A platform plays what it has: what cannot be read is an error page, or was broken on its way here."""
    if isinstance(error, NoVideoStreamError):
        return error
    return IncompleteTransferError(
        one_line(
            f"{job.key}: what came is no whole video ({type(error).__name__}: {error}); it is asked again"
        )
    )
