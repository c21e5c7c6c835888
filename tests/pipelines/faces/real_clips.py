"""Real clips from a folder next to the checkout, if it exists, and segments of any video."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from mien.ingest.errors import MienError
from mien.ingest.media import Job, VideoRef
from mien.ingest.probe import probe
from mien.pipelines.data import ROW_HZ, Segment
from mien.pipelines.weights import locate

MEDIA = Path(__file__).resolve().parents[3].parent / "shared" / "media"


def clip(name: str) -> Path:
    """The path of the clip. Skips the test if it is missing."""
    path = MEDIA / name
    if not path.is_file():
        pytest.skip(f"needs the development clip {name}")
    return path


def require_weights(*names: str) -> None:
    """Skips the test if any of the weights are missing."""
    for name in names:
        try:
            locate(name)
        except MienError as error:
            pytest.skip(f"needs weights: {error}")


def segment_of(path: Path, *, start: float = 0.0, end: float | None = None) -> Segment:
    """A whole video, or [start, end), as one segment with speech throughout."""
    video = VideoRef(source="test", id="film", uri=str(path))
    media = probe(str(path), job=Job(video=video), sha256="", bytes=path.stat().st_size)
    if end is None:
        end = math.ceil(media.duration_seconds * ROW_HZ) / ROW_HZ
    return Segment(media=media, start=start, end=end, sound=None, speech=((start, end),))
