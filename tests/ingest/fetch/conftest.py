from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from mien.ingest.errors import MienError
from mien.ingest.fetch import Fetch
from mien.ingest.media import Job, VideoRef
from tests.ingest.fetch.server import LoopbackServer
from tests.s3 import s3_server
from tests.sync_films import make_sync_film

__all__ = ["s3_server"]


def job_of(uri: str) -> Job:
    return Job(video=VideoRef(source="http", id="a_video", uri=uri))


@pytest.fixture
def server() -> Iterator[LoopbackServer]:
    with LoopbackServer() as running:
        yield running


@pytest.fixture
def fetch(tmp_path: Path) -> Fetch:
    return make_fetch(tmp_path)


def make_fetch(tmp_path: Path, **options: Any) -> Fetch:
    stage = Fetch(
        **{
            "cache_dir": str(tmp_path / "cache"),
            "allow_private_addresses": True,
            "timeout_seconds": 60.0,
            "attempts": 3,
            **options,
        }
    )
    stage.open()
    return stage


@pytest.fixture(scope="session")
def film_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("films") / "film.mp4"
    make_sync_film(path, container="mp4", seconds=2.0)
    return path


@pytest.fixture(scope="session")
def film(film_path: Path) -> bytes:
    return film_path.read_bytes()


def cached_files(stage: Fetch) -> list[str]:
    """Without markers beside existing files; a marker without a file is included."""
    names = {path.name for path in stage.cache.folder.iterdir() if path.name != ".lock"}
    return sorted(names - {f"{name}.wanted" for name in names})


def failure(stage: Fetch, url: str) -> MienError:
    with pytest.raises(MienError) as raised:
        list(stage(job_of(url)))
    assert "\n" not in str(raised.value)
    assert cached_files(stage) == []
    return raised.value
