"""Windows: which part of a clip goes into a batch. It is the same for every field and in every process."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from mien.ingest.errors import UsageError
from mien.pipelines.data import ROW_HZ, ROW_SAMPLES, SOUND_HZ

_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Window:
    """A window of fixed length in each clip. It begins on a row of the clip's 25 Hz clock."""

    rows: int
    """Number of rows (frames, or rows of a track)."""
    samples: int
    """Number of sound samples, from the start of the first row."""
    short: Literal["pad", "refuse"] = "pad"
    """Clips shorter than the window are padded and masked, or raise ShortClipError."""

    def __post_init__(self) -> None:
        if self.rows < 1 or self.samples < 1:
            raise UsageError(f"a window must not be empty; got {self.rows = }, {self.samples = }")
        if not (self.rows - 1) * ROW_SAMPLES < self.samples <= self.rows * ROW_SAMPLES:
            raise UsageError(
                f"a window of {self.rows} rows covers {self.rows * ROW_SAMPLES} samples, "
                f"got {self.samples = }; use Window.of_frames, of_seconds or of_samples"
            )

    @classmethod
    def of_frames(cls, frames: int, *, short: Literal["pad", "refuse"] = "pad") -> Window:
        """`frames` frames and their sound."""
        return cls(frames, frames * ROW_SAMPLES, short)

    @classmethod
    def of_seconds(cls, seconds: float, *, short: Literal["pad", "refuse"] = "pad") -> Window:
        """`seconds` of sound, and the rows that it overlaps."""
        return cls.of_samples(round(seconds * SOUND_HZ), short=short)

    @classmethod
    def of_samples(cls, samples: int, *, short: Literal["pad", "refuse"] = "pad") -> Window:
        """`samples` of sound, and the rows that they overlap."""
        return cls(-(-samples // ROW_SAMPLES), samples, short)

    @property
    def seconds(self) -> float:
        return self.rows / ROW_HZ


@dataclass(frozen=True, slots=True)
class Cut:
    """The position of the window in one clip."""

    first_row: int
    rows: int
    """Rows of the clip in the window; fewer than the window's if the clip is shorter."""


def place(window: Window, *, seed: int, rows: int) -> Cut:
    """The window's position in a clip of `rows` rows: uniform over all positions, determined by the seed."""
    spare = rows - window.rows
    if spare <= 0:
        return Cut(0, rows)
    return Cut(_mix(seed) * (spare + 1) >> 64, window.rows)


def _mix(seed: int) -> int:
    """SplitMix64's finaliser (Steele, Lea, Flood 2014), so that nearby seeds give unrelated positions."""
    z = (seed + 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ z >> 30) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ z >> 27) * 0x94D049BB133111EB) & _MASK
    return z ^ z >> 31
