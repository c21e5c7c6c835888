"""What is remembered of an egress identity between two decisions."""

from __future__ import annotations

from dataclasses import dataclass

FIRST_REQUESTS = 6.0
FIRST_BYTES = 20e6
"""What a video is believed to take before any was seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressState:
    """All times in seconds since the epoch; 0 is never."""

    name: str
    granted_at: float = 0.0
    """Of the last grant. Time never runs backwards for an identity, whatever a machine's clock says."""
    even_at: float = 0.0
    """When an even pace would have come to the last grant: in the future where grants came in a burst."""
    paused_until: float = 0.0
    """0: the circuit is closed. Past: half open, one probe may ask."""
    strikes: int = 0
    """Refusals without a success worth the name in between."""
    cooldown_seconds: float = 0.0
    """The last one's."""
    closed_at: float = 0.0
    """When a probe last closed the circuit."""
    succeeded_at: float = 0.0
    mean_requests: float = FIRST_REQUESTS
    mean_bytes: float = FIRST_BYTES
    """Of a video, recent ones counting most."""
    error_class: str = ""
    error_text: str = ""
    """Of the last refusal."""

    @property
    def is_open(self) -> bool:
        return self.paused_until > 0
