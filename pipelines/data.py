"""The nouns of the pipeline, in the order in which data flows. No logic.

Times are seconds on the file's clock (float64). Rows are ticks of the 25 Hz grid that is anchored at
0 of the file's clock: row k stands for time k / ROW_HZ, and ROW_SAMPLES samples of sound. Segments and
clips begin on the grid, so a clip of T rows has exactly T * ROW_SAMPLES samples.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from mien.ingest.media import MediaFile

SOUND_HZ = 16_000
ROW_HZ = 25
ROW_SAMPLES = SOUND_HZ // ROW_HZ
CROP_PIXELS = 128
SCHEMA_VERSION = 1

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int16 = npt.NDArray[np.int16]
Bool = npt.NDArray[np.bool_]
UInt8 = npt.NDArray[np.uint8]

Span = tuple[float, float]
"""Half-open [start, end) in seconds."""

# The yield funnel: every second of a file ends in exactly one of these, the first that applies.
DROP_REASONS = (
    "no_audio",
    "no_speech",
    "no_video",
    "no_face",
    "not_speaking",
    "no_words",
    "too_short",
    "failed",
)
KEPT = "kept"


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelUse:
    """Provenance: a network that processed the data, and the provider that ran it."""

    name: str
    sha256: str
    provider: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """A sampled annotation of one face, or of a segment's sound."""

    name: str
    times_seconds: Float64
    """(T,) ascending, on the file's clock."""
    values: Float32
    """(T, D); NaN where unknown."""
    columns: tuple[str, ...]
    """(D,) names, with their units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FaceTrack:
    """One person's face through a segment, on the 25 Hz grid."""

    index: int
    first_row: int
    """Grid row of element 0 (absolute: row k is at k / ROW_HZ seconds)."""
    visible: Bool
    """(T,)"""
    shots: Int16
    """(T,) number of the uninterrupted stretch that the row belongs to: a shot cut, or a loss of the face
    for longer than the tracker waits, begins the next; -1 where not visible."""
    boxes: Float32
    """(T, 4) x0, y0, x1, y1 in pixels of the upright picture; NaN where not visible."""
    landmarks: Float32
    """(T, 5, 2) left eye, right eye, nose, left mouth corner, right mouth corner as seen in the picture;
    pixels of the upright picture; NaN where not visible."""
    scores: Float32
    """(T,) detector score, interpolated; NaN where not visible."""
    source_seconds: Float64
    """(T,) presentation time of the frame that each row was taken from; NaN where not visible."""
    crops: tuple[bytes, ...]
    """T baseline JPEGs of CROP_PIXELS x CROP_PIXELS, 4:2:0, standard tables; b"" where not visible."""
    blur: Float32
    """(T,) variance of the Laplacian of the crop's luma; NaN where not visible."""
    embedding: Float32 | None
    """(D,) unit length; None where nothing in the segment could be the same person (the face was not
    interrupted, or was seen badly), or where the profile has no identity network."""
    measures: Mapping[str, Float32] = field(default_factory=dict)
    """By annotator: (T, K) what it measured on the uncompressed crops; NaN where unknown."""
    tracks: Mapping[str, Track] = field(default_factory=dict)
    """By annotator: its track of this face."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Word:
    text: str
    start: float
    end: float
    probability: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Transcript:
    language: str
    language_probability: float
    words: tuple[Word, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A half-open span of one file with its sound: the unit that travels."""

    media: MediaFile
    start: float
    end: float
    sound: Int16 | None
    """(N,) 16 kHz mono, N = round((end - start) * SOUND_HZ); None where the file has no sound."""
    speech: tuple[Span, ...] = ()
    """Spans of speech inside [start, end)."""
    tracks: tuple[FaceTrack, ...] | None = None
    """None before face tracking."""
    transcript: Transcript | None = None
    drops: dict[str, float] = field(default_factory=dict)
    """Seconds dropped so far, by reason."""
    models: tuple[ModelUse, ...] = ()
    sound_tracks: Mapping[str, Track] = field(default_factory=dict)
    """By annotator: its track of the segment's sound."""

    @property
    def start_ms(self) -> int:
        return round(self.start * 1000)

    @property
    def key(self) -> str:
        return f"{self.media.key}-{self.start_ms:09d}"

    @property
    def seconds(self) -> float:
        return self.end - self.start

    @property
    def nbytes(self) -> int:
        sound = 0 if self.sound is None else int(self.sound.nbytes)
        faces = self.tracks or ()
        crops = sum(len(crop) for face in faces for crop in face.crops)
        named = [*self.sound_tracks.values(), *(track for face in faces for track in face.tracks.values())]
        return 4096 + sound + crops + sum(int(track.values.nbytes) for track in named)


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The longest span in which all requirements hold, for one face or for the sound alone."""

    segment: Segment
    face: FaceTrack | None
    first_row: int
    row_count: int
    words: tuple[Word, ...]

    @property
    def start(self) -> float:
        return self.first_row / ROW_HZ

    @property
    def end(self) -> float:
        return (self.first_row + self.row_count) / ROW_HZ


@dataclass(frozen=True, slots=True, kw_only=True)
class AlignedSegment:
    """A segment with its clips, and the fate of each of its seconds."""

    segment: Segment
    clips: tuple[Clip, ...]
    seconds_by_fate: dict[str, float]

    @property
    def key(self) -> str:
        return self.segment.key

    @property
    def seconds(self) -> float:
        return self.segment.seconds

    @property
    def nbytes(self) -> int:
        return self.segment.nbytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """A clip as named members of a tar, and its row of the index."""

    key: str
    members: dict[str, bytes]
    """Extension (without the key and its dot) to content, in the order in which they are written."""
    row: dict[str, str | int | float | bool | None]
    """The values that a trainer filters by."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentDone:
    """The result of one segment: its samples, if any, and its seconds by fate, which add up to its length."""

    video_key: str
    start_ms: int
    end_ms: int
    seconds_by_fate: dict[str, float]
    samples: tuple[Sample, ...] = ()
    sample_count: int = 0

    @property
    def key(self) -> str:
        return f"{self.video_key}-{self.start_ms:09d}"

    @property
    def seconds(self) -> float:
        return (self.end_ms - self.start_ms) / 1000

    @property
    def final(self) -> bool:
        """True if there is nothing to write. The engine then skips the remaining stages."""
        return not self.samples

    @property
    def nbytes(self) -> int:
        return 512 + sum(len(data) for sample in self.samples for data in sample.members.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SegmentFailed:
    """The rest of a file that failed while it was being split. The segments before it are complete."""

    video_key: str
    start_ms: int
    end_ms: int
    stage: str
    error_class: str
    text: str
    final: bool = True

    @property
    def key(self) -> str:
        return f"{self.video_key}-{self.start_ms:09d}"

    @property
    def seconds(self) -> float:
        return (self.end_ms - self.start_ms) / 1000

    @property
    def nbytes(self) -> int:
        return 512


@dataclass(frozen=True, slots=True, kw_only=True)
class Shard:
    """One closed and published tar, not yet committed."""

    name: str
    uri: str
    size_bytes: int
    sha256: str
    sample_count: int
    segments: tuple[SegmentDone, ...]
    """Without their samples."""
    index: bytes
    """The sidecar's content (Parquet)."""

    @property
    def key(self) -> str:
        return self.name

    @property
    def seconds(self) -> float:
        return sum(segment.seconds for segment in self.segments)

    @property
    def nbytes(self) -> int:
        return len(self.index)

    @property
    def acknowledges(self) -> tuple[str, ...]:
        return tuple(segment.key for segment in self.segments)
