"""The stored state of an egress identity on one platform, between two decisions."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_REQUESTS = 6.0
FIRST_BYTES = 20e6
"""Estimated usage of a video before any was fetched."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressState:
    """All times in seconds since the epoch; 0 is never."""

    name: str
    platform: str
    granted_at: float = 0.0
    """Time of the last grant. Time never runs backwards for an identity, even if a machine's clock does."""
    even_at: float = 0.0
    """When an even pace would reach the last grant: in the future after a burst of grants."""
    paused_until: float = 0.0
    """0: the circuit is closed. Past: half open, one probe is allowed."""
    strikes: int = 0
    """Refusals in a row without a lasting success."""
    cooldown_seconds: float = 0.0
    """The last cooldown."""
    closed_at: float = 0.0
    """When a probe last closed the circuit."""
    succeeded_at: float = 0.0
    mean_requests: float = FIRST_REQUESTS
    mean_bytes: float = FIRST_BYTES
    """Per video, with recent videos weighted most."""
    error_class: str = ""
    error_text: str = ""
    """The last refusal."""

    @property
    def is_open(self) -> bool:
        return self.paused_until > 0
