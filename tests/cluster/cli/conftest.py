"""A small corpus for `mien shards`, and helpers that read the exported files."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from mien.cluster.cli import main
from tests.models.talking_shards import write_talking
from tests.webdataset_samples import ReadSample, read_shards

SAMPLES, PER_SHARD = 20, 8


@pytest.fixture(scope="package")
def shards(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """20 samples in three shards."""
    return write_talking(tmp_path_factory.mktemp("corpus") / "shards", SAMPLES, per_shard=PER_SHARD)


@pytest.fixture(scope="package")
def truth(shards: Path) -> dict[str, ReadSample]:
    """By key."""
    return {sample.key: sample for sample in read_shards(shards)}


@pytest.fixture
def mien_main(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs `mien` with these arguments in `tmp_path`, in this process and without MIEN_ variables."""

    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        monkeypatch.chdir(tmp_path)
        for name in [name for name in os.environ if name.startswith("MIEN_")]:
            monkeypatch.delenv(name)
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert isinstance(ended.value.code, int)
        return subprocess.CompletedProcess(arguments, ended.value.code, *capsys.readouterr())

    return run


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A separate cache for the reader's indexes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
