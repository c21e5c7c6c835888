"""Every hostile file has exactly the expected outcome in probing and decoding, and nothing hangs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mien.ingest.errors import MienError
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.probe import probe
from mien.pipelines.decode.frames import FrameReader
from mien.pipelines.decode.sound import SoundStream
from tests.hostile_files import RECIPES, Recipe, make_one, talking_cut

JOB = Job(video=VideoRef(source="folder", id="x", uri="x"))
MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "media"


def decode_all(path: str) -> MediaFile:
    media = probe(path, job=JOB, sha256="", bytes=0)
    if media.audio:
        samples = sum(len(block) for block in SoundStream(media, block_seconds=7.0))
        assert samples == round(media.duration_seconds * 16_000)
    if media.video:
        reader = FrameReader(media)
        times = [frame.seconds for frame in reader.frames(-1.0, media.duration_seconds + 1.0)]
        reader.close()
        assert np.all(np.diff(times) >= 0)
        assert len(times) >= 2
    return media


def outcome(path: str) -> str:
    try:
        decode_all(path)
    except MienError as error:
        assert "\n" not in str(error)
        return type(error).__name__
    return "ok"


def is_slow(recipe: Recipe) -> bool:
    """Files that must be encoded first and are valid. They are slow because there are many."""
    return recipe.outcome == "ok" and not recipe.name.startswith("name: ")


@pytest.mark.timeout(120)
@pytest.mark.parametrize(
    "recipe",
    [pytest.param(one, marks=pytest.mark.slow if is_slow(one) else ()) for one in RECIPES],
    ids=[one.name for one in RECIPES],
)
def test_hostile_file_has_expected_outcome(recipe: Recipe, tmp_path: Path) -> None:
    one = make_one(recipe, tmp_path)
    if one.skip:
        pytest.skip(one.skip)
    assert outcome(str(one.path)) == one.outcome


def test_truncated_talk_is_detected(tmp_path: Path) -> None:
    talking = MEDIA / "german_speaker.mp4"
    if not talking.exists():
        pytest.skip("no talking clip in shared/media")
    for recipe in talking_cut(talking):
        assert outcome(str(make_one(recipe, tmp_path).path)) == recipe.outcome


def test_enough_hostile_files() -> None:
    assert len(RECIPES) >= 34
    assert (
        len({recipe.name for recipe in RECIPES}) == len({recipe.file for recipe in RECIPES}) == len(RECIPES)
    )
