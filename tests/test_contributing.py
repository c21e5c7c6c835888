"""Runs the examples in the README's section Contributing."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mien.ingest.platforms import PLATFORMS, platform_of
from mien.ingest.sources import SOURCES, expand, make_sources
from mien.models.reader.shard_reader import ShardReader
from mien.pipelines.data import ROW_HZ, FaceTrack, Segment
from tests.models.talking_shards import write_talking
from tests.pipelines.builders import media_file

ROOT = Path(__file__).resolve().parents[1]
CONTRIBUTING = (ROOT / "README.md").read_text().partition("## Contributing")[2]
EXAMPLES = dict(re.findall(r"^```python\n# (\S+)\n(.*?)^```", CONTRIBUTING, re.MULTILINE | re.DOTALL))


def load_example(path: str) -> Any:
    """The names that the example for this file defines."""
    names: dict[str, Any] = {"__name__": path}
    exec(compile(EXAMPLES[path], path, "exec"), names)  # noqa: S102 (the README is trusted)
    return SimpleNamespace(**names)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_talking(tmp_path_factory.mktemp("shards") / "talk", 12)


@pytest.mark.parametrize("path", sorted(EXAMPLES))
def test_example_file_would_be_new(path: str) -> None:
    assert (ROOT / path).parents[1].is_dir()
    assert not (ROOT / path).exists()


def test_source_example() -> None:
    source = load_example("ingest/sources/daily.py").DailySource()
    videos = list(expand("daily:monday", sources={"daily": source, **SOURCES}))
    assert [video.id for video in videos] == ["monday-news", "monday-talk"]


def test_annotator_example() -> None:
    annotator = load_example("pipelines/annotators/mouth_width.py").MouthWidth()
    points = np.array([[0, 0], [40, 0], [20, 20], [5, 40], [35, 40]], np.float32)
    face = FaceTrack(
        index=0,
        first_row=0,
        visible=np.array([True, True, False]),
        shots=np.array([0, 0, -1], np.int16),
        boxes=np.zeros((3, 4), np.float32),
        landmarks=np.stack([points, points * [2, 1], points * np.nan]).astype(np.float32),
        scores=np.ones(3, np.float32),
        source_seconds=np.arange(3) / ROW_HZ,
        crops=(b"",) * 3,
        blur=np.zeros(3, np.float32),
        embedding=None,
    )
    segment = Segment(
        media=media_file(seconds=1.0), start=0.0, end=1.0, sound=np.zeros(16_000, np.int16), speech=(),
        tracks=(face,), transcript=None,
    )  # fmt: skip
    (tracked,) = annotator(segment).tracks
    track = tracked.tracks["mouth_width"]
    np.testing.assert_allclose(track.values, [[0.75], [0.75], [np.nan]])
    assert track.columns == ("ratio",)
    assert annotator.summarise(track, None) == {"mouth_width_max": 0.75}


def test_platform_example() -> None:
    platform = load_example("ingest/platforms/vimeo/platform.py").Vimeo()
    others = dict(PLATFORMS)
    PLATFORMS.clear()
    PLATFORMS.update({"vimeo": platform, **others})
    try:
        assert platform_of("https://vimeo.com/76979871") is platform
        (video,) = expand("https://vimeo.com/76979871", sources=make_sources())
    finally:
        PLATFORMS.clear()
        PLATFORMS.update(others)
    assert (video.source, video.uri) == ("vimeo", "https://vimeo.com/76979871")


def test_field_example(shards: Path, tmp_path: Path) -> None:
    field = load_example("models/reader/fields/language.py").LanguageField()
    reader = ShardReader(shards, fields=[field, "text"], cache_dir=tmp_path)
    with reader.loader(global_batch=4) as loader:
        batch = next(iter(loader))
    assert len(batch["language"]) == 4
    assert set(batch["language"]) <= {"de", "en"}


def test_trainer_example(shards: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch = pytest.importorskip("torch")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    model = load_example("models/examples/loudness.py").train(str(shards))
    parameters = [parameter.detach().numpy() for parameter in model.parameters()]
    assert all(np.isfinite(parameter).all() for parameter in parameters)
    assert isinstance(model, torch.nn.Module)
