"""The data classes of ingest, in the order in which data flows. No logic."""

from __future__ import annotations

from dataclasses import dataclass, field

SoundPrint = bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilter:
    """Conditions of a search that can only be checked on the video. Empty fields accept every video."""

    after: str = ""
    """YYYY-MM-DD: the video was published on this day or later."""
    min_seconds: float | None = None
    max_seconds: float | None = None
    language: str = ""
    """Language of the speech: the primary subtag of BCP 47 (en, de, pt)."""
    licence: str = ""
    """"cc": a Creative Commons licence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRef:
    """A requested video, before any of it is read."""

    source: str
    """Name of the source in `SOURCES`; letters and digits only."""
    id: str
    """Unique within the source; [A-Za-z0-9_-]+, safe as a file name."""
    uri: str
    """Local path (absolute), http(s) URL, or object store URI."""
    title: str = ""
    channel: str = ""
    licence: str = ""
    query: str = ""
    duration_seconds: float | None = None
    """As declared by the source, if at all."""
    labels: dict[str, str] = field(default_factory=dict)
    filters: tuple[SearchFilter, ...] = ()
    """One filter per search that found the video; it must pass at least one. Empty: no condition."""

    @property
    def key(self) -> str:
        return f"{self.source}-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A video claimed by a run, with its segments that have already ended."""

    video: VideoRef
    done_starts_ms: frozenset[int] = frozenset()
    attempts: int = 0
    """Failures of the whole video so far. The backoff grows with them."""
    identity: str = ""
    """Name of the egress identity that has a grant for the video; "" if none is needed."""
    media_uri: str = ""
    """URI of the retained copy, which is read instead of downloading again; "" if there is none."""

    @property
    def key(self) -> str:
        return self.video.key

    @property
    def seconds(self) -> float:
        return self.video.duration_seconds or 60.0

    @property
    def nbytes(self) -> int:
        return 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamInfo:
    """One stream: what the header declares, and what its packets show."""

    index: int
    kind: str
    """"video" or "audio"."""
    codec: str
    declared_seconds: float | None
    packets: int
    start_seconds: float
    """First presentation time, on the file's clock."""
    end_seconds: float
    """Last presentation time plus its duration, on the file's clock."""
    width_pixels: int = 0
    height_pixels: int = 0
    rotation_degrees: int = 0
    """Clockwise rotation that makes the stored picture upright: 0, 90, 180 or 270."""
    declared_fps: float | None = None
    mean_fps: float | None = None
    variable_frame_rate: bool = False
    max_gap_seconds: float = 0.0
    sample_rate_hz: int = 0
    channels: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaFile:
    """A stored file and what probing its content showed."""

    job: Job
    path: str
    """Local path, readable on this node."""
    bytes: int
    sha256: str
    container: str
    zero_seconds: float
    """The container time that is 0 on the file's clock."""
    duration_seconds: float
    """Of the content: end of the last stream, on the file's clock."""
    declared_seconds: float | None
    video: StreamInfo | None
    audio: StreamInfo | None
    other_streams: int = 0
    usage_requests: int = 0
    """Requests and bytes that the download took from its egress identity's budget."""
    usage_bytes: int = 0
    sound_print: SoundPrint = b""
    """Audio fingerprint, if it was requested (ingest/fetch/sound_print.py)."""
    retained_uri: str = ""
    """URI of the published copy that is retained."""

    @property
    def key(self) -> str:
        return self.job.key

    @property
    def seconds(self) -> float:
        return self.duration_seconds

    @property
    def nbytes(self) -> int:
        return 1024
