"""A store written by an older mien is migrated, resumed and read."""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from mien import ShardReader
from tests.mien_command import mien

FIXTURE = Path(__file__).resolve().parents[1] / "fixtures" / "written_by_dcc66da"
SPEECH_ONLY = {"MIEN_CLIP__REQUIRE": '["speech"]'}
NO_WAITING = {"MIEN_ACQUIRE__WAIT": "false", "MIEN_ACQUIRE__IDENTITIES": '[{"name": "home"}]'}

pytestmark = pytest.mark.slow


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The old store below a new root."""
    shutil.copytree(FIXTURE / "films", tmp_path / "films")
    shutil.copytree(FIXTURE / "shards", tmp_path / "store" / "shards")
    statements = (FIXTURE / "catalog.sql").read_text().replace("@ROOT@", str(tmp_path))
    catalog = sqlite3.connect(tmp_path / "store" / "catalog.sqlite")
    catalog.executescript(statements)
    catalog.close()
    return tmp_path


def status(folder: Path, **environment: str) -> dict[str, Any]:
    result = mien("status", "--json", folder=folder, **environment)
    assert result.returncode == 0, result.stderr
    found: dict[str, Any] = json.loads(result.stdout)
    return found


def words(folder: Path) -> list[str]:
    reader = ShardReader(str(folder / "store" / "shards"), fields=["text"], cache_dir=folder / "cache")
    with reader.loader(global_batch=1, workers=0) as loader:
        return sorted(str(batch["text"][0]) for batch in loader)


def test_old_shards_are_read(folder: Path) -> None:
    texts = words(folder)
    assert len(texts) == 2
    assert "lazy dog." in texts[1]


def test_old_shards_verify(folder: Path) -> None:
    result = mien("verify", folder=folder)
    assert result.returncode == 0, result.stderr
    assert "2 samples" in result.stdout


def test_old_catalog_keeps_its_states(folder: Path) -> None:
    before = status(folder)
    assert before["videos"]["done"] == 2
    assert before["videos"]["waiting"] + before["videos"]["running"] == 10


def test_old_pause_belongs_to_youtube(folder: Path) -> None:
    status(folder)  # opening the catalog migrates it
    catalog = sqlite3.connect(folder / "store" / "catalog.sqlite")
    rows = catalog.execute("SELECT platform, name, error_class FROM egress ORDER BY name").fetchall()
    catalog.close()
    assert rows == [("youtube", "away", ""), ("youtube", "home", "BotWallError")]


def test_live_run_of_old_mien_is_left_alone(folder: Path) -> None:
    file = folder / "store" / "catalog.sqlite"
    with contextlib.closing(sqlite3.connect(file)) as catalog, catalog:
        catalog.execute("UPDATE runs SET lease_until = 1e12 WHERE outcome IS NULL")
    result = mien("status", folder=folder)
    assert result.returncode == 1
    assert "of an older mien on old uses this catalog" in result.stderr
    with contextlib.closing(sqlite3.connect(file)) as catalog:
        assert catalog.execute("SELECT count(*) FROM tallies").fetchone()[0] > 0, "nothing was migrated"


def test_run_resumes_an_old_catalog(folder: Path) -> None:
    videos_of_platforms = ("DELETE FROM videos WHERE source = 'youtube'",)
    catalog = sqlite3.connect(folder / "store" / "catalog.sqlite")
    with catalog:
        for statement in videos_of_platforms:
            catalog.execute(statement)
    catalog.close()
    result = mien("run", "--local", folder=folder, **SPEECH_ONLY, **NO_WAITING)
    assert result.returncode == 3, result.stderr  # the missing file
    after = status(folder)
    assert (after["videos"]["done"], after["videos"]["failed"]) == (3, 1)
    texts = words(folder)
    assert len(texts) == 3, "the finished videos were not processed again"
    assert mien("verify", folder=folder).returncode == 0
