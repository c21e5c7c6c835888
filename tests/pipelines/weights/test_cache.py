"""Finding and verifying cached weights."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.ingest.errors import ConfigError, WeightsError
from mien.pipelines.weights import cache, find, locate
from mien.pipelines.weights.registry import Weights
from tests.pipelines.weights.conftest import FakeOrigins, weight_file

Register = Callable[..., Weights]


@pytest.fixture
def toy(origins: FakeOrigins, register: Register) -> Path:
    register(weight_file("net.onnx", b"right"))
    folder = cache.cache_folder() / "toy"
    folder.mkdir(parents=True)
    return folder / "net.onnx"


def test_manually_copied_file_is_verified_and_marked(toy: Path) -> None:
    toy.write_bytes(b"right")
    assert locate("toy") == toy
    assert (toy.parent / cache.MARKER).exists()


@pytest.mark.parametrize(
    ("content", "problem"),
    [(None, "is missing"), (b"wrong size", "bytes instead of 5"), (b"wrong", "has sha256")],
)
def test_error_names_problem_and_command(toy: Path, content: bytes | None, problem: str) -> None:
    if content is not None:
        toy.write_bytes(content)
    with pytest.raises(WeightsError, match=problem) as caught:
        locate("toy")
    assert "mien weights pull toy" in str(caught.value)
    assert find("toy") is None


def test_marker_avoids_hashing_until_file_changes(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.write_bytes(b"right")
    assert find("toy") == toy
    hashed: list[Path] = []
    real = cache.file_sha256

    def hashing(path: Path) -> str:
        hashed.append(path)
        return real(path)

    monkeypatch.setattr(cache, "file_sha256", hashing)
    assert find("toy") == toy
    assert hashed == []
    toy.write_bytes(b"wrong")
    os.utime(toy, ns=(1, 1))
    assert find("toy") is None
    assert hashed == [toy]


def test_ignores_invalid_marker(toy: Path) -> None:
    toy.write_bytes(b"right")
    (toy.parent / cache.MARKER).write_text("[1, 2")
    assert locate("toy") == toy


def test_bundled_weights_match_registered_hash() -> None:
    path = locate("silero_vad_v6")
    assert path.name == "silero_vad_v6.onnx"
    assert not (path.parent / cache.MARKER).exists(), "nothing is written into an installed package"


def test_rejects_unknown_name_and_profile(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(WeightsError, match="no weights named 'whisper'"):
        locate("whisper")
    monkeypatch.setenv("MIEN_WEIGHTS_LICENCE", "strict")
    with pytest.raises(ConfigError, match="any or permissive"):
        locate("silero_vad_v6")
