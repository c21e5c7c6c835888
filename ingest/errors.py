"""The error tree: one class for each cause, each with the policy of what to do next.

    MienError
    ├── UsageError              the person asked for something impossible (exit 2)
    │   ├── ConfigError         mien.toml, environment or flags
    │   ├── InfeasibleError     the pools do not fit the cluster
    │   ├── ProviderError       the accelerator asked for is not there
    │   ├── FilterError         a `where` that cannot be understood, or names what the index has not
    │   ├── ReaderStateError    a loader's state that is none, or of another filter, mixture or order
    │   └── MissingProgramError a program that mien calls is not installed
    ├── WeightsError            a model file cannot be had, or its hash is wrong
    ├── CatalogError            the catalog cannot be opened, or is of another schema
    │   └── LeaseLostError      another run has taken the video over
    ├── StorageError            the store refuses (retry)
    │   ├── StorageFullError    no space left (stop)
    │   ├── CacheFullError      the media cache holds nothing that may go: fetching pauses
    │   ├── ShardStoreError     shards cannot be written or published, retries included (stop)
    │   ├── StorageDeniedError  permission, credentials, no such bucket (stop)
    │   ├── StorageMissingError no such name in the store (permanent)
    │   └── StorageConflictError the name is taken by other bytes (permanent)
    ├── MediaError              the item itself (permanent)
    │   ├── MissingFileError · AccessDeniedError · NotAFileError · EmptyFileError
    │   ├── NotMediaError       not a container that can be opened, whatever its name
    │   ├── NoVideoStreamError · NoAudioStreamError · StillImageError · ZeroDurationError
    │   ├── TruncatedMediaError · CorruptMediaError · ChangedFileError · TooLargeError
    │   ├── UnsupportedMediaError
    │   ├── DuplicateMediaError another video holds the same bytes; counted apart from failures
    │   └── UnknownNameError    a corpus' file whose name its documentation does not explain
    ├── ReadError               shards as trainers read them (permanent)
    │   ├── NoSamplesError      no committed shard, or none of its samples passes the filter
    │   ├── SidecarError        a shard's index cannot be read
    │   │   └── SidecarVersionError  it is of another schema
    │   ├── ManifestChangedError  the shards are not those that the state counts in
    │   ├── UnknownKeyError     no sample of that key
    │   ├── LoaderWorkerError   a decoding process died again and again over the same batch
    │   ├── LoaderTimeoutError  a batch did not come in time; the message tells what was waited for
    │   └── DamagedSampleError  a member is not what it was written as; `key` tells whose
    │       ├── MissingMemberError  the sample was written without it
    │       ├── ShortClipError  shorter than the window, which may not be padded
    │       ├── MissingShardError  the tar is gone, its index is still there
    │       ├── TruncatedShardError  the tar ends before the sample does
    │       ├── WrongBytesError  the bytes are not those that were committed (CRC-32, sha256)
    │       └── ShardUnavailableError  the store gives no answer, retries included (retry)
    ├── FetchError              HTTP (retry)
    │   ├── IncompleteTransferError  fewer bytes came than were announced, or it stalled
    │   ├── RateLimitedError    429, for longer than one waits
    │   ├── GoneError           404, 410 (permanent)
    │   ├── RejectedRequestError  any other 4xx, or a redirect that leads nowhere (permanent)
    │   ├── PrivateAddressError the host is in the operator's own network (permanent)
    │   ├── ProxyError          the proxy refuses or cannot be reached (circuit)
    │   ├── CookiesError        the cookies are refused or expired (circuit)
    │   └── PlatformError       what a video platform answers (permanent, unless said otherwise)
    │       ├── BotWallError    "confirm you're not a bot" (circuit)
    │       ├── PrivateVideoError · RemovedVideoError · CopyrightError · AgeGateError · GeoBlockedError
    │       ├── MembersOnlyError · PaymentRequiredError · LiveError
    │       ├── PremiereError   it has not begun (retry when it has)
    │       ├── NoFormatsError  nothing that can be downloaded (retry)
    │       ├── MediaForbiddenError  the page is shown, its media is refused (retry)
    │       ├── FilteredOutError  licence, age, date or language are not those asked for
    │       └── ExtractorError  an answer that the table of errors does not know (retry, and reported loudly)
    └── ItemError               what the engine says of an item it gave up
        ├── OutOfMemoryError · DeadlineExceededError · WorkerDiedError · UnexpectedError

(circuit): retry, and until then nothing else is asked through the same egress identity.
Messages say what, what was got, and what to do, in one line.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum


class Policy(StrEnum):
    """What a failure of this class asks for."""

    PERMANENT = "permanent"  # never asked again, unless a person says `mien retry`
    RETRY = "retry"  # with backoff
    STOP = "stop"  # nothing else can go on either: end the run


class MienError(Exception):
    """Root of every error that mien raises on purpose."""

    policy: Policy = Policy.PERMANENT
    exit_code: int = 1
    circuit: bool = False
    """Whether it is the egress identity that is refused, and every other video would be, too."""
    usage_requests: int = 0
    usage_bytes: int = 0
    """What was spent on the network before it came to this, where that is counted."""


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
        """Keys of the segments (or videos) that this run may not write."""


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
    """The item itself is at fault: asking again gives the same."""


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
    """What stands in a shard cannot be handed out."""


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
        return type(self), (self.key, self.why)  # it crosses from a worker to its parent


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
    """What the server asked for, if it did."""


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
    """What the engine says of an item that it gave up."""


class OutOfMemoryError(ItemError):
    pass


class DeadlineExceededError(ItemError):
    pass


class WorkerDiedError(ItemError):
    pass


class UnexpectedError(ItemError):
    """An exception that no class of this tree names; its text is kept."""


def one_line(text: str, limit: int = 500) -> str:
    """`text` as one printable line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
