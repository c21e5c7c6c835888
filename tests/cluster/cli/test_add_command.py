"""`mien add` through the command line."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

from mien.cluster.cli import cli
from mien.ingest.catalog import Catalog
from tests.ingest.catalog.makers import begin, segment, shard


def add(folder: Path, *arguments: str) -> str:
    with contextlib.chdir(folder):
        done = CliRunner().invoke(cli, ["add", *arguments])
    assert done.exit_code == 0, (done.output, done.exception)
    return done.output


def catalog(folder: Path) -> Catalog:
    return Catalog.open(f"sqlite:///{folder}/mien-store/catalog.sqlite")


@pytest.mark.parametrize("place", ["cache", "media", "shards", "spool/run"])
def test_own_media_are_not_added(tmp_path: Path, place: str) -> None:
    own = tmp_path / "mien-store" / place
    own.mkdir(parents=True)
    (own / "0123.mp4").write_bytes(b"film")
    (tmp_path / "talk.mp4").write_bytes(b"film")
    assert add(tmp_path, ".").splitlines()[0] == "1 new, 0 already known"
    output = add(tmp_path, ".", str(own / "0123.mp4"))
    assert "skipped 2 in mien's own store" in output
    with catalog(tmp_path) as known:
        assert sum(known.status().videos.values()) == 1


def test_store_next_to_films_hides_none(tmp_path: Path) -> None:
    (tmp_path / "mien.toml").write_text('[store]\nroot = "."\n')
    (tmp_path / "talk.mp4").write_bytes(b"film")
    assert add(tmp_path, ".").splitlines()[0] == "1 new, 0 already known"


def test_later_table_labels_known_videos(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / f"{name}.mp4").write_bytes(b"film")
    add(tmp_path, "a.mp4", "b.mp4")
    with catalog(tmp_path) as known:
        run_id = begin(known)
        [job] = known.claim(run_id, limit=1)
        samples = replace(segment("x", 0, samples=2), video_key=job.key)
        known.commit_shard(run_id, shard("s", run_id), [samples])
        known.record_split(run_id, job.key, 1)
    (tmp_path / "table.csv").write_text("path,mood\na.mp4,calm\nb.mp4,glad\n")
    assert add(tmp_path, "table.csv").splitlines() == [
        "0 new, 2 already known",
        "added labels or titles to 2 known videos",
        "1 of them already have samples, which do not change",
    ]
    facts = json.loads(add(tmp_path, "--json", "table.csv"))
    assert (facts["labelled"], facts["written_before"], len(facts["known"])) == ([], [], 2)
    with catalog(tmp_path) as known:
        history = known.explain("a.mp4") or known.explain(job.key)
        assert history is not None
        assert (history.state, history.video.labels) == ("done", {"mood": "calm"})
        assert known.claim(begin(known), limit=9)[0].video.labels == {"mood": "glad"}
