"""Every hostile file has exactly its outcome, through probing and decoding all of it, and nothing hangs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ingest.errors import MienError
from ingest.media import Job, MediaFile, VideoRef
from ingest.probe import probe
from pipelines.decode.frames import FrameReader
from pipelines.decode.sound import SoundStream
from tests.hostile import RECIPES, Hostile, make_hostile

JOB = Job(video=VideoRef(source="folder", id="x", uri="x"))
MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "media"


@pytest.fixture(scope="session")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Hostile]]:
    talking = MEDIA / "german_speaker.mp4"
    folder = tmp_path_factory.mktemp("hostile")
    yield {one.name: one for one in make_hostile(folder, talking if talking.exists() else None)}


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


NAMES = [recipe.name for recipe in RECIPES] + [f"talking cut at {share} %" for share in (10, 50, 95)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("name", NAMES)
def test_a_hostile_file_has_its_outcome(name: str, hostile: dict[str, Hostile]) -> None:
    if name not in hostile:
        pytest.skip("no talking clip in shared/media")
    one = hostile[name]
    if one.skip:
        pytest.skip(one.skip)
    assert outcome(str(one.path)) == one.outcome


def test_there_are_enough_of_them() -> None:
    assert len(RECIPES) >= 34
    assert (
        len({recipe.name for recipe in RECIPES}) == len({recipe.file for recipe in RECIPES}) == len(RECIPES)
    )
