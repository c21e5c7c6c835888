"""The outcome of one check."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class CheckStatus(StrEnum):
    OK = "ok"
    WARN = "warn"  # works, but slower or with less than it could have
    FAIL = "fail"  # something that a run needs is not there


@dataclass(frozen=True, slots=True)
class Check:
    name: str
    status: CheckStatus
    message: str
    cure: str = ""

    @classmethod
    def ok(cls, name: str, message: str) -> Check:
        return cls(name, CheckStatus.OK, message)

    @classmethod
    def warn(cls, name: str, message: str, cure: str = "") -> Check:
        return cls(name, CheckStatus.WARN, message, cure)

    @classmethod
    def fail(cls, name: str, message: str, cure: str = "") -> Check:
        return cls(name, CheckStatus.FAIL, message, cure)
