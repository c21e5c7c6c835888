"""The error tree: one class per cause. Each class has the policy that says what happens next.

    MienError
    ├── UsageError              the request is impossible (exit code 2)
    │   ├── ConfigError         invalid value in mien.toml, the environment or the flags
    │   ├── InfeasibleError     the worker pools do not fit the cluster
    │   ├── ProviderError       the requested accelerator is not available
    │   ├── FilterError         a `where` that cannot be parsed, or names a column missing from the index
    │   ├── ReaderStateError    a loader state that is invalid, or belongs to another filter, mixture or order
    │   └── MissingProgramError a program that mien runs is not installed
    ├── WeightsError            a model file cannot be downloaded, or its hash is wrong
    ├── CatalogError            the catalog cannot be opened, or has another schema
    │   └── LeaseLostError      another run has taken over the video
    ├── StorageError            the store failed (retry)
    │   ├── StorageFullError    no space left (stop)
    │   ├── CacheFullError      every file in the media cache is in use: fetching pauses
    │   ├── ShardStoreError     shards cannot be written or published, even after retries (stop)
    │   ├── StorageDeniedError  missing permission, wrong credentials, or no such bucket (stop)
    │   ├── StorageMissingError no such name in the store (permanent)
    │   └── StorageConflictError the name is taken by other bytes (permanent)
    ├── MediaError              the file itself is unusable (permanent)
    │   ├── MissingFileError · AccessDeniedError · NotAFileError · EmptyFileError
    │   ├── NotMediaError       not a media container, whatever its name
    │   ├── NoVideoStreamError · NoAudioStreamError · StillImageError · ZeroDurationError
    │   ├── TruncatedMediaError · CorruptMediaError · ChangedFileError · TooLargeError
    │   ├── UnsupportedMediaError
    │   ├── DuplicateMediaError another video has the same bytes; counted apart from failures
    │   └── UnknownNameError    a dataset's file whose name does not follow the documented naming
    ├── ReadError               shards cannot be read by a trainer (permanent)
    │   ├── NoSamplesError      there is no committed shard, or no sample passes the filter
    │   ├── SidecarError        a shard's index cannot be read
    │   │   └── SidecarVersionError  the index has another schema
    │   ├── ManifestChangedError  the shards differ from those that the state refers to
    │   ├── UnknownKeyError     no sample has this key
    │   ├── LoaderWorkerError   worker processes died repeatedly on the same batch
    │   ├── LoaderTimeoutError  a batch did not arrive in time; the message says what it waited for (retry)
    │   └── DamagedSampleError  a member differs from what was written; `key` names the sample
    │       ├── MissingMemberError  the sample was written without this member
    │       ├── ShortClipError  the clip is shorter than the window, and padding is off
    │       ├── MissingShardError  the tar is missing but its index exists
    │       ├── TruncatedShardError  the tar ends before the sample does
    │       ├── WrongBytesError  the bytes differ from those that were committed (CRC-32, sha256)
    │       └── ShardUnavailableError  the store does not answer, even after retries (retry)
    ├── FetchError              an HTTP or network failure (retry)
    │   ├── IncompleteTransferError  the transfer stalled, or fewer bytes arrived than were announced
    │   ├── RateLimitedError    429, with a wait that is longer than mien waits (circuit)
    │   ├── GoneError           404 or 410 (permanent)
    │   ├── RejectedRequestError  any other 4xx, or a redirect without a target (permanent)
    │   ├── PrivateAddressError the host is inside the operator's own network (permanent)
    │   ├── ProxyError          the proxy refuses or cannot be reached (circuit)
    │   ├── CookiesError        the cookies are rejected or expired (circuit)
    │   └── PlatformError       a video platform refuses the video (permanent, unless stated otherwise)
    │       ├── BotWallError    "confirm you're not a bot" (circuit)
    │       ├── PrivateVideoError · RemovedVideoError · CopyrightError · AgeGateError · GeoBlockedError
    │       ├── MembersOnlyError · PaymentRequiredError · LiveError
    │       ├── PremiereError   the premiere has not started (retry after it starts)
    │       ├── NoFormatsError  no format can be downloaded (retry)
    │       ├── MediaForbiddenError  the page loads, but the media is refused (retry)
    │       ├── FilteredOutError  licence, age, date or language do not match the search filter
    │       └── ExtractorError  an answer that matches no known error pattern (retry, and reported)
    └── ItemError               the engine gave up on an item
        ├── OutOfMemoryError · DeadlineExceededError · WorkerDiedError · UnexpectedError

(circuit): retry later. Until then nothing else is requested with the same egress identity on that platform.
A message is one line: what happened, what was found, and what to do.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Policy(StrEnum):
    """What happens after a failure."""

    PERMANENT = "permanent"  # never tried again, unless a person runs `mien retry`
    RETRY = "retry"  # tried again, with backoff
    STOP = "stop"  # nothing else can succeed either: the run ends


class MienError(Exception):
    """Base class of every error that mien raises deliberately."""

    policy: Policy = Policy.PERMANENT
    exit_code: int = 1
    circuit: bool = False
    """Whether the platform refuses the egress identity, so that every other video would fail too."""
    usage_requests: int = 0
    usage_bytes: int = 0
    """Network usage before the failure, where it is counted."""


def one_line(text: str, limit: int = 500) -> str:
    """`text` as one printable line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"


class UsageError(MienError):
    policy = Policy.STOP
    exit_code = 2


class ConfigError(UsageError):
    pass


class InfeasibleError(UsageError):
    pass


class ProviderError(UsageError):
    pass


class MissingProgramError(UsageError):
    pass


class FilterError(UsageError):
    pass


class ReaderStateError(UsageError):
    pass


class WeightsError(MienError):
    policy = Policy.STOP


class CatalogError(MienError):
    policy = Policy.STOP


class LeaseLostError(CatalogError):
    policy = Policy.RETRY

    def __init__(self, message: str, lost: Iterable[str] = ()) -> None:
        super().__init__(message)
        self.lost = frozenset(lost)
        """Keys of the segments (or videos) that this run may no longer write."""


class StorageError(MienError):
    policy = Policy.RETRY


class StorageFullError(StorageError):
    policy = Policy.STOP


class CacheFullError(StorageError):
    pass


class ShardStoreError(StorageError):
    policy = Policy.STOP


class StorageDeniedError(StorageError):
    policy = Policy.STOP


class StorageMissingError(StorageError):
    policy = Policy.PERMANENT


class StorageConflictError(StorageError):
    policy = Policy.PERMANENT


class MediaError(MienError):
    """The file itself is unusable: another try gives the same result."""


class MissingFileError(MediaError):
    pass


class AccessDeniedError(MediaError):
    pass


class NotAFileError(MediaError):
    pass


class EmptyFileError(MediaError):
    pass


class NotMediaError(MediaError):
    pass


class NoVideoStreamError(MediaError):
    pass


class NoAudioStreamError(MediaError):
    pass


class StillImageError(MediaError):
    pass


class ZeroDurationError(MediaError):
    pass


class TruncatedMediaError(MediaError):
    pass


class CorruptMediaError(MediaError):
    pass


class ChangedFileError(MediaError):
    pass


class TooLargeError(MediaError):
    pass


class UnsupportedMediaError(MediaError):
    pass


class DuplicateMediaError(MediaError):
    pass


class UnknownNameError(MediaError):
    pass


class ReadError(MienError):
    """Shards cannot be read."""


class NoSamplesError(ReadError):
    pass


class SidecarError(ReadError):
    pass


class SidecarVersionError(SidecarError):
    pass


class ManifestChangedError(ReadError):
    pass


class UnknownKeyError(ReadError, LookupError):
    pass


class LoaderWorkerError(ReadError):
    pass


class LoaderTimeoutError(ReadError):
    policy = Policy.RETRY


class DamagedSampleError(ReadError):
    def __init__(self, key: str, why: str) -> None:
        super().__init__(f"sample {key}: {why}")
        self.key = key
        self.why = why

    def __reduce__(self) -> tuple[type[DamagedSampleError], tuple[str, str]]:
        return type(self), (self.key, self.why)  # pickled by a worker, unpickled by its parent


class MissingMemberError(DamagedSampleError):
    pass


class ShortClipError(DamagedSampleError):
    pass


class MissingShardError(DamagedSampleError):
    pass


class TruncatedShardError(DamagedSampleError):
    pass


class WrongBytesError(DamagedSampleError):
    pass


class ShardUnavailableError(DamagedSampleError):
    policy = Policy.RETRY


class FetchError(MienError):
    policy = Policy.RETRY
    retry_after_seconds: float | None = None
    """The wait that the server asked for, if any."""


class IncompleteTransferError(FetchError):
    pass


class RateLimitedError(FetchError):
    circuit = True


class GoneError(FetchError):
    policy = Policy.PERMANENT


class RejectedRequestError(FetchError):
    policy = Policy.PERMANENT


class PrivateAddressError(FetchError):
    policy = Policy.PERMANENT


class ProxyError(FetchError):
    circuit = True


class CookiesError(FetchError):
    circuit = True


class PlatformError(FetchError):
    policy = Policy.PERMANENT


class BotWallError(PlatformError):
    policy = Policy.RETRY
    circuit = True


class PrivateVideoError(PlatformError):
    pass


class RemovedVideoError(PlatformError):
    pass


class CopyrightError(PlatformError):
    pass


class AgeGateError(PlatformError):
    pass


class GeoBlockedError(PlatformError):
    pass


class MembersOnlyError(PlatformError):
    pass


class PaymentRequiredError(PlatformError):
    pass


class LiveError(PlatformError):
    pass


class PremiereError(PlatformError):
    policy = Policy.RETRY


class NoFormatsError(PlatformError):
    policy = Policy.RETRY


class MediaForbiddenError(PlatformError):
    policy = Policy.RETRY


class FilteredOutError(PlatformError):
    pass


class ExtractorError(PlatformError):
    policy = Policy.RETRY


class ItemError(MienError):
    """The engine gave up on an item."""


class OutOfMemoryError(ItemError):
    pass


class DeadlineExceededError(ItemError):
    pass


class WorkerDiedError(ItemError):
    pass


class UnexpectedError(ItemError):
    """An exception that is not part of this tree. Its text is stored."""
