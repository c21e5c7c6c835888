"""The records of the catalog, in the order in which a run writes them. No logic."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mien.ingest.errors import Policy
from mien.ingest.rate.governor import Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class AddResult:
    """The result of adding videos: their keys, in the given order, each once."""

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    labelled: list[str] = field(default_factory=list)
    """The known videos that got new labels, or a title, channel or licence that they did not have."""
    written: list[str] = field(default_factory=list)
    """Those of `labelled` that a run has claimed or that have samples: their samples do not change."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRecord:
    """The properties of a media file, as probed."""

    sha256: str
    bytes: int
    duration_seconds: float
    """Of the content, on the file's clock."""
    probe_json: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecord:
    """A completed segment: its samples are in `shard`, or it was dropped and has none."""

    video_key: str
    start_ms: int
    end_ms: int
    seconds_by_fate: dict[str, float] = field(default_factory=dict)
    """The values add up to the seconds of the segment."""
    sample_count: int = 0
    shard: str | None = None
    """Filled in by `commit_shard`; None for a segment without samples."""

    @property
    def key(self) -> str:
        return f"{self.video_key}-{self.start_ms:09d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFailure:
    """A segment that the engine gave up."""

    video_key: str
    start_ms: int
    end_ms: int
    stage: str
    error_class: str
    text: str
    """The raw error."""
    seconds_by_fate: dict[str, float] = field(default_factory=dict)
    """Empty: all its seconds count as `failed`."""

    @property
    def key(self) -> str:
        return f"{self.video_key}-{self.start_ms:09d}"


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoFailure:
    """A video that could not be processed further."""

    key: str
    stage: str
    error_class: str
    text: str
    """The raw error."""
    policy: Policy
    """PERMANENT ends the video. RETRY and STOP make it wait; STOP does not count as an attempt."""
    next_try_at: float | None = None
    """Seconds since the epoch; None: immediately."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ShardRecord:
    """A published tar."""

    name: str
    uri: str
    bytes: int
    sha256: str
    sample_count: int
    run_id: str
    sidecar: bool = False
    """Its index is published too, so readers see it."""


class Outcome(StrEnum):
    """The result of a grant, as it concerns the egress identity."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # because of the video, or unknown: no information about the identity
    UNASKED = "unasked"  # the video was cached: the grant is returned
    REFUSED = "refused"  # the platform refused the identity: its circuit opens


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """The budget used to fetch a video. 0 requests and 0 bytes: unknown, so the reserve stays charged."""

    outcome: Outcome
    requests: int = 0
    bytes: int = 0
    retry_after_seconds: float | None = None
    """As requested by the server."""
    error_class: str = ""
    error_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageGrant:
    """The permission to request one page of a list, or the reason for a refusal."""

    number: int | None
    """Identifies the grant when it is settled; None: the page may not be requested now."""
    room_at: float
    """The earliest known time at which it may be requested."""
    is_paused: bool
    """The identity's circuit is open until then."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EgressStatus:
    """The budget and the circuit of an egress identity on one platform."""

    name: str
    platform: str
    videos: int
    requests: int
    bytes: int
    """Counted in the window of the last hour."""
    lists: int
    """The number of `videos` that were charged for a search or another list."""
    limits: Charge
    """Per hour; 0 is no limit."""
    in_progress: int
    room_at: float
    """The earliest known time of the next request; in the past: it may send one now."""
    paused_until: float | None
    """The circuit is open until then; in the past: one probe is allowed."""
    strikes: int
    mean_requests: float
    mean_bytes: float
    """Per video."""
    error_class: str
    error_text: str
    """The last refusal."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Paused:
    """The circuit of an egress identity on a platform is open."""

    identity: str
    platform: str
    until: float
    succeeded_at: float
    """When a video was last fetched through it; 0: never."""
