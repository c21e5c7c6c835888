"""The nouns of the ground floor, in the order in which data flows. No logic."""

from __future__ import annotations

from dataclasses import dataclass, field

SoundPrint = bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchFilter:
    """What a search asks of a video and cannot see before the video is looked at; empty asks for nothing."""

    after: str = ""
    """YYYY-MM-DD: published on this day or later."""
    min_seconds: float | None = None
    max_seconds: float | None = None
    language: str = ""
    """Of the speech: BCP 47, the primary subtag (en, de, pt)."""
    licence: str = ""
    """"cc": a Creative Commons licence."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoRef:
    """A video somebody asked for, before a byte of it was read."""

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
    """Of each search that found it: it is to be as any one of them asks. Empty: as it is."""

    @property
    def key(self) -> str:
        return f"{self.source}-{self.id}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """A video claimed by a run, with the segments of it that are committed already."""

    video: VideoRef
    done_starts_ms: frozenset[int] = frozenset()
    attempts: int = 0
    """Failures of the whole video so far; the next wait grows with it."""
    identity: str = ""
    """Name of the egress identity that was granted for it; "" where none is needed."""
    media_uri: str = ""
    """Of the copy that is kept of it, which is read instead of asking again; "" where there is none."""

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
    """One stream: what the header declares, and what walking its packets showed."""

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
    """Clockwise turn that makes the stored picture upright: 0, 90, 180 or 270."""
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
    """The container's time that is 0 on the file's clock."""
    duration_seconds: float
    """Of the content: end of the last stream, on the file's clock."""
    declared_seconds: float | None
    video: StreamInfo | None
    audio: StreamInfo | None
    other_streams: int = 0
    usage_requests: int = 0
    usage_bytes: int = 0
    sound_print: SoundPrint = b""
    """What it sounds like (ingest/fetch/sound_print.py), where that was asked for."""
    """What fetching it took of its egress identity's budget."""
    retained_uri: str = ""
    """Of the copy that was published to be kept."""

    @property
    def key(self) -> str:
        return self.job.key

    @property
    def seconds(self) -> float:
        return self.duration_seconds

    @property
    def nbytes(self) -> int:
        return 1024
