"""The root of the error tree, and what a failure asks for."""

from __future__ import annotations

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


def one_line(text: str, limit: int = 500) -> str:
    """`text` as one printable line of at most `limit` characters."""
    line = " ".join(text.split())
    return line if len(line) <= limit else line[: limit - 1] + "…"
