"""What servers and platforms answer."""

from __future__ import annotations

from mien.ingest.errors.base import MienError, Policy


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
