"""Shards as trainers read them."""

from __future__ import annotations

from mien.ingest.errors.base import MienError, Policy


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
