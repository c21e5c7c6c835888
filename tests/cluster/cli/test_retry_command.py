"""`mien retry`: its output for people and as JSON."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mien.cluster.cli import cli
from mien.ingest.catalog import Catalog
from mien.ingest.errors import Policy
from tests.ingest.catalog.makers import begin
from tests.ingest.catalog.platforms import FREE, REFUSED, ask, put_off, tubes


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Two videos that failed permanently, a waiting one, and a paused identity."""
    monkeypatch.chdir(tmp_path)
    with opened(tmp_path) as catalog:
        catalog.add(tubes(3))
        run_id = begin(catalog)
        one, two, three = ask(catalog, run_id, [FREE])
        for job in (one, two):
            catalog.record_video_failure(run_id, put_off(job, 0.0, policy=Policy.PERMANENT))
        assert catalog.settle(run_id, three.key, REFUSED) is not None
        catalog.end_run(run_id, "finished")
    return tmp_path


def opened(folder: Path) -> Catalog:
    return Catalog.open(f"sqlite:///{folder}/mien-store/catalog.sqlite")


def waiting(folder: Path) -> int:
    with opened(folder) as catalog:
        return catalog.status().videos["waiting"]


def retry(*arguments: str) -> Result:
    return CliRunner().invoke(cli, ["retry", *arguments])


def test_retry_json(store: Path) -> None:
    output = json.loads(retry("--all", "--identity", FREE.name, "--json").stdout)
    failed = output.pop("failed_before")
    assert output.pop("platforms_reopened") == ["youtube"]
    assert output == {"videos_waiting_again": 2, "identity_reopened": FREE.name}
    assert list(failed.values()) == [2]
    assert waiting(store) == 3
    output = json.loads(retry("--all", "--json").stdout)
    assert output.pop("platforms_reopened") == []
    assert output == {"videos_waiting_again": 0, "identity_reopened": None, "failed_before": {}}


def test_retry_output(store: Path) -> None:
    assert retry("--identity", FREE.name).stdout == f"ended the pause of identity {FREE.name} on youtube\n"
    assert waiting(store) == 1
    assert retry("--all").stdout == "2 videos put back into the queue for the next `mien run`\n"
    assert retry("--all").stdout == (
        "0 videos put back into the queue for the next `mien run`\nfailures in the catalog: none\n"
    )


def test_unknown_class_leaves_identity_paused(store: Path) -> None:
    assert retry("--class", "GoneErr", "--identity", FREE.name).exception is not None
    assert retry("--identity", FREE.name).exit_code == 0, "it was paused still"
