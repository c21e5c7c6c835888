"""What goes into the catalog, in the order in which a run writes it. No logic."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum

from mien.ingest.errors import Policy
from mien.ingest.rate.governor import Charge


@dataclass(frozen=True, slots=True, kw_only=True)
class AddResult:
    """What became of the videos that were offered: their keys, in the order given, each once."""

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)
    labelled: list[str] = field(default_factory=list)
    """Of the known those that got labels, a title, a channel or a licence which they had not."""
    written: list[str] = field(default_factory=list)
    """Of `labelled` those that a run is at work on, or that have samples: these stay as they are."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaRecord:
    """What probing the stored file's content showed."""

    sha256: str
    bytes: int
    duration_seconds: float
    """Of the content, on the file's clock."""
    probe_json: str = "{}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentRecord:
    """A segment that ended well: its samples are in `shard`, or it was dropped and has none."""

    video_key: str
    start_ms: int
    end_ms: int
    seconds_by_fate: dict[str, float] = field(default_factory=dict)
    """They add up to the segment's seconds."""
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
    """A video that could not be gone on with."""

    key: str
    stage: str
    error_class: str
    text: str
    """The raw error."""
    policy: Policy
    """PERMANENT ends the video. RETRY and STOP make it wait; STOP is not counted as an attempt of its own."""
    next_try_at: float | None = None
    """Seconds since the epoch; None: as soon as anybody asks."""


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
    """What a grant came to, as far as it concerns the egress identity."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"  # for reasons of the video's own, or unknown: says nothing of the identity
    UNASKED = "unasked"  # it was in the cache: the grant is given back
    REFUSED = "refused"  # the identity is not welcome: its circuit opens


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """What fetching a video took of its identity's budget. 0 and 0: unknown, so the reserve stays charged."""

    outcome: Outcome
    requests: int = 0
    bytes: int = 0
    retry_after_seconds: float | None = None
    """As the server asked."""
    error_class: str = ""
    error_text: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PageGrant:
    """Leave to ask for one page of a list, or why not now."""

    number: int | None
    """To settle it by; None: it may not be asked for now."""
    room_at: float
    """When it may, as far as that is known."""
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
    """How many of the videos stand for a search or another list."""
    limits: Charge
    """Per hour; 0 is no limit."""
    in_progress: int
    room_at: float
    """The earliest known time at which it may ask again; not in the future: now."""
    paused_until: float | None
    """The circuit is open until then; in the past: one probe may ask."""
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
