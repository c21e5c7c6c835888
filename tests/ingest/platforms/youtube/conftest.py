from __future__ import annotations

from pathlib import Path

import pytest

from tests.sync_films import make_sync_film

SECONDS = 4.0


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("youtube") / "film.mp4"
    make_sync_film(path, container="mp4", seconds=SECONDS)
    return path
