"""Labels from file names and table columns reach samples and indexes, also for sound only."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path
from typing import Any

import ffmpeg
import pyarrow.parquet as pq
import pytest

from mien.ingest.ffmpeg import find_ffmpeg
from tests.demo_media import SHARED_MEDIA, demo_clip, needs_weights
from tests.mien_command import mien

pytestmark = pytest.mark.slow

RAVDESS = SHARED_MEDIA.parent / "datasets" / "ravdess_speech_actors_01_20.tar"
SPEECH = ("--set", "clip.require=speech")
NAMES = ("Actor_03/03-01-05-02-02-01-03.flac", "Actor_14/03-01-01-01-01-02-14.wav")


def heard(source: Path, path: Path, *, start: float, seconds: float) -> Path:
    """A part of the sound of `source`, without video."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stream = ffmpeg.input(str(source), ss=start, t=seconds).audio
    ffmpeg.output(stream, str(path), ar=16000, ac=1).run(cmd=find_ffmpeg(), quiet=True)
    return path


def samples(folder: Path) -> dict[str, dict[str, Any]]:
    """The json of each sample, with the names of its members as "members"."""
    found: dict[str, dict[str, Any]] = {}
    members: dict[str, set[str]] = {}
    for shard in sorted((folder / "store" / "shards").glob("*.tar")):
        with tarfile.open(shard) as archive:
            for member in archive:
                key, _, kind = member.name.partition(".")
                members.setdefault(key, set()).add(kind)
                if kind == "json":
                    content = archive.extractfile(member)
                    assert content is not None
                    found[key] = json.load(content)
    return {key: {**value, "members": members[key]} for key, value in found.items()}


def indexed_labels(folder: Path) -> dict[str, dict[str, str]]:
    rows = [
        row
        for index in (folder / "store" / "shards").glob("*.parquet")
        for row in pq.read_table(index, columns=["key", "labels"]).to_pylist()
    ]
    return {row["key"]: json.loads(row["labels"]) for row in rows}


def ran(folder: Path, *what: str | Path, add: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    added = mien("add", *add, *SPEECH, *what, folder=folder)
    assert added.returncode == 0, added.stderr
    done = mien("run", "--local", "--json", *SPEECH, folder=folder)
    assert done.returncode == 0, done.stderr
    verified = mien("verify", folder=folder)
    assert verified.returncode == 0, verified.stdout
    found = samples(folder)
    assert indexed_labels(folder) == {key: value["video"]["labels"] for key, value in found.items()}
    return found


@pytest.fixture(scope="module")
def talk() -> Path:
    needs_weights()
    return demo_clip("talks.mp4")


def test_sound_dataset_becomes_labelled_samples(talk: Path, tmp_path: Path) -> None:
    corpus = tmp_path / "corpus"
    for number, name in enumerate(NAMES):
        heard(talk, corpus / name, start=4.0 * number, seconds=4.0)
    found = ran(tmp_path / "out", f"ravdess:{corpus}")
    emotions = {sample["video"]["labels"]["emotion"] for sample in found.values()}
    assert emotions == {"angry", "neutral"}
    for key, sample in found.items():
        video = sample["video"]
        assert key.startswith(f"ravdess-{video['id']}-")
        assert (video["source"], video["licence"]) == ("ravdess", "CC BY-NC-SA 4.0")
        assert video["labels"]["actor"] in {"03", "14"}
        assert {"json", "txt", "flac"} <= sample["members"]
        assert "faces.jpg" not in sample["members"]
        assert sample["words"]


def test_ravdess_works_as_sound_only(tmp_path: Path) -> None:
    if not RAVDESS.is_file():
        pytest.skip(f"no RAVDESS at {RAVDESS}")
    needs_weights()
    with tarfile.open(RAVDESS) as archive:
        files = [member for member in archive if member.isfile()]
        chosen = sorted(files, key=lambda member: member.name)[7:1200:300]
        archive.extractall(tmp_path / "corpus", members=chosen, filter="data")
    found = ran(tmp_path / "out", f"ravdess:{tmp_path / 'corpus'}")
    ids = {sample["video"]["id"] for sample in found.values()}
    assert ids <= {Path(member.name).stem for member in chosen}
    assert len(ids) >= 3  # an actor may say it too softly for the voice detector
    for sample in found.values():
        labels = sample["video"]["labels"]
        assert labels["modality"] == "audio"
        output = " ".join(word["text"].strip() for word in sample["words"]).lower()
        subject = labels["statement"].split()[0].lower()
        assert subject in output or "door" in output or "talking" in output or "sitting" in output, output


def test_table_columns_become_labels(talk: Path, tmp_path: Path) -> None:
    heard(talk, tmp_path / "media" / "a.mp3", start=0.0, seconds=5.0)
    table = tmp_path / "labels.csv"
    table.write_text("path,arousal,note\nmedia/a.mp3,0.7,“says” it\n")
    found = ran(tmp_path / "out", table)
    assert found
    for sample in found.values():
        assert sample["video"]["labels"] == {"arousal": "0.7", "note": "“says” it"}
        assert sample["video"]["query"] == str(table)


@pytest.mark.parametrize("local", [True, False])
def test_duplicate_recording_is_used_once(talk: Path, tmp_path: Path, local: bool) -> None:
    first = heard(talk, tmp_path / "media" / "first.flac", start=0.0, seconds=5.0)
    (tmp_path / "media" / "second.flac").write_bytes(first.read_bytes())
    assert mien("add", *SPEECH, tmp_path / "media", folder=tmp_path).returncode == 0
    options = ("--local",) if local else ()
    done = mien("run", "--json", *options, *SPEECH, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert {state: count for state, count in facts["videos"].items() if count} == {"done": 1, "duplicate": 1}
    assert facts["video_errors"] == {}
    assert len({sample["video"]["id"] for sample in samples(tmp_path).values()}) == 1
    assert sum(facts["seconds_by_fate"].values()) == pytest.approx(facts["media_seconds"], abs=0.1)
    again = mien("run", "--json", "--local", *SPEECH, folder=tmp_path)
    assert json.loads(again.stdout)["samples"] == facts["samples"]
