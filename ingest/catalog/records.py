"""What goes into the catalog, in the order in which a run writes it. No logic."""

from __future__ import annotations

from dataclasses import dataclass, field

from ingest.errors import Policy


@dataclass(frozen=True, slots=True, kw_only=True)
class AddResult:
    """What became of the videos that were offered: their keys, in the order given, each once."""

    new: list[str] = field(default_factory=list)
    known: list[str] = field(default_factory=list)


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
