"""The item itself."""

from __future__ import annotations

from mien.ingest.errors.base import MienError


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
