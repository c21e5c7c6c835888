"""The person asked for something impossible."""

from __future__ import annotations

from mien.ingest.errors.base import MienError, Policy


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
