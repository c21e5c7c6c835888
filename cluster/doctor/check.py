"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    OK = "ok"
    WARN = "warn"  # a run works, but slower or with limits
    FAIL = "fail"  # a run cannot work


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    status: CheckStatus
    message: str
    fix: str = ""
    """What to do."""

    @classmethod
    def ok(cls, name: str, message: str) -> Check:
        return cls(name, CheckStatus.OK, message)

    @classmethod
    def warn(cls, name: str, message: str, fix: str = "") -> Check:
        return cls(name, CheckStatus.WARN, message, fix)

    @classmethod
    def fail(cls, name: str, message: str, fix: str = "") -> Check:
        return cls(name, CheckStatus.FAIL, message, fix)
