"""Runs the examples in the README's section Contributing."""

from __future__ import annotations

import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from mien.ingest.sources import SOURCES, expand
from mien.models.reader.shard_reader import ShardReader
from tests.models.talking_shards import write_talking

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
    assert (ROOT / path).parent.is_dir()
    assert not (ROOT / path).exists()


def test_source_example() -> None:
    source = load_example("ingest/sources/daily.py").DailySource()
    videos = list(expand("daily:monday", sources={"daily": source, **SOURCES}))
    assert [video.id for video in videos] == ["monday-news", "monday-talk"]


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
