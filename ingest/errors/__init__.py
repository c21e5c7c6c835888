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

from mien.ingest.errors.base import (
    MienError,
    Policy,
    one_line,
)
from mien.ingest.errors.item import (
    DeadlineExceededError,
    ItemError,
    OutOfMemoryError,
    UnexpectedError,
    WorkerDiedError,
)
from mien.ingest.errors.media import (
    AccessDeniedError,
    ChangedFileError,
    CorruptMediaError,
    DuplicateMediaError,
    EmptyFileError,
    MediaError,
    MissingFileError,
    NoAudioStreamError,
    NotAFileError,
    NotMediaError,
    NoVideoStreamError,
    StillImageError,
    TooLargeError,
    TruncatedMediaError,
    UnknownNameError,
    UnsupportedMediaError,
    ZeroDurationError,
)
from mien.ingest.errors.network import (
    AgeGateError,
    BotWallError,
    CookiesError,
    CopyrightError,
    ExtractorError,
    FetchError,
    FilteredOutError,
    GeoBlockedError,
    GoneError,
    IncompleteTransferError,
    LiveError,
    MediaForbiddenError,
    MembersOnlyError,
    NoFormatsError,
    PaymentRequiredError,
    PlatformError,
    PremiereError,
    PrivateAddressError,
    PrivateVideoError,
    ProxyError,
    RateLimitedError,
    RejectedRequestError,
    RemovedVideoError,
)
from mien.ingest.errors.reading import (
    DamagedSampleError,
    LoaderTimeoutError,
    LoaderWorkerError,
    ManifestChangedError,
    MissingMemberError,
    MissingShardError,
    NoSamplesError,
    ReadError,
    ShardUnavailableError,
    ShortClipError,
    SidecarError,
    SidecarVersionError,
    TruncatedShardError,
    UnknownKeyError,
    WrongBytesError,
)
from mien.ingest.errors.stores import (
    CacheFullError,
    CatalogError,
    LeaseLostError,
    ShardStoreError,
    StorageConflictError,
    StorageDeniedError,
    StorageError,
    StorageFullError,
    StorageMissingError,
    WeightsError,
)
from mien.ingest.errors.usage import (
    ConfigError,
    FilterError,
    InfeasibleError,
    MissingProgramError,
    ProviderError,
    ReaderStateError,
    UsageError,
)

__all__ = [
    "AccessDeniedError",
    "AgeGateError",
    "BotWallError",
    "CacheFullError",
    "CatalogError",
    "ChangedFileError",
    "ConfigError",
    "CookiesError",
    "CopyrightError",
    "CorruptMediaError",
    "DamagedSampleError",
    "DeadlineExceededError",
    "DuplicateMediaError",
    "EmptyFileError",
    "ExtractorError",
    "FetchError",
    "FilterError",
    "FilteredOutError",
    "GeoBlockedError",
    "GoneError",
    "IncompleteTransferError",
    "InfeasibleError",
    "ItemError",
    "LeaseLostError",
    "LiveError",
    "LoaderTimeoutError",
    "LoaderWorkerError",
    "ManifestChangedError",
    "MediaError",
    "MediaForbiddenError",
    "MembersOnlyError",
    "MienError",
    "MissingFileError",
    "MissingMemberError",
    "MissingProgramError",
    "MissingShardError",
    "NoAudioStreamError",
    "NoFormatsError",
    "NoSamplesError",
    "NoVideoStreamError",
    "NotAFileError",
    "NotMediaError",
    "OutOfMemoryError",
    "PaymentRequiredError",
    "PlatformError",
    "Policy",
    "PremiereError",
    "PrivateAddressError",
    "PrivateVideoError",
    "ProviderError",
    "ProxyError",
    "RateLimitedError",
    "ReadError",
    "ReaderStateError",
    "RejectedRequestError",
    "RemovedVideoError",
    "ShardStoreError",
    "ShardUnavailableError",
    "ShortClipError",
    "SidecarError",
    "SidecarVersionError",
    "StillImageError",
    "StorageConflictError",
    "StorageDeniedError",
    "StorageError",
    "StorageFullError",
    "StorageMissingError",
    "TooLargeError",
    "TruncatedMediaError",
    "TruncatedShardError",
    "UnexpectedError",
    "UnknownKeyError",
    "UnknownNameError",
    "UnsupportedMediaError",
    "UsageError",
    "WeightsError",
    "WorkerDiedError",
    "WrongBytesError",
    "ZeroDurationError",
    "one_line",
]
