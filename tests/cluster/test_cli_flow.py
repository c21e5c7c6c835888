"""The commands in sequence, on local stores and on the stores of a cluster."""

from __future__ import annotations

import json
import shutil
import tempfile
from pathlib import Path

import pytest

from tests.demo_media import demo_clip, needs_weights
from tests.mien_command import mien, mien_in_process
from tests.postgres import running_postgres
from tests.s3 import S3Server, s3_server
from tests.webdataset_samples import ReadSample, read_shards

__all__ = ["s3_server"]

ODD_NAME = "my films é #1, 50%20 off? &c"
"""Characters that are special in URLs, shells and SQL."""


@pytest.fixture(scope="module")
def flow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with an unusual name after `mien run`, configured in three layers."""
    needs_weights()
    folder = tmp_path_factory.mktemp("flow") / ODD_NAME
    folder.mkdir()
    shutil.copy(demo_clip("talks.mp4"), folder / "talks.mp4")
    (folder / "mien.toml").write_text(
        "[clip]\nmin_seconds = 20.0\nmax_seconds = 20.0\n[faces]\nidentity = false\n"
    )
    assert mien("add", "talks.mp4", folder=folder).returncode == 0
    done = mien("run", "--local", "--set", "clip.max_seconds=14", folder=folder, MIEN_CLIP__MIN_SECONDS="3")
    assert done.returncode == 0, done.stderr
    return folder


def samples_of(folder: Path) -> list[ReadSample]:
    """Read from a folder with a plain name, because webdataset parses paths as URLs."""
    with tempfile.TemporaryDirectory() as plain:
        return list(read_shards(Path(shutil.copytree(folder / "store" / "shards", f"{plain}/shards"))))


@pytest.mark.slow
def test_flags_go_over_the_environment_and_that_over_the_file(flow: Path) -> None:
    # The film has two clips (1.8 and 5.6 s): the file alone would keep none, the defaults both.
    (sample,) = samples_of(flow)
    assert 3 <= sample.meta["end_seconds"] - sample.meta["start_seconds"] <= 14
    models = [model["name"] for model in sample.meta["provenance"]["models"]]
    assert models == ["silero_vad_v6", "scrfd_500m", "whisper-base"]
    shown = mien(
        "config", "show", "--json", "--set", "clip.max_seconds=14", folder=flow, MIEN_CLIP__MIN_SECONDS="3"
    )
    output = json.loads(shown.stdout)
    assert {
        key: (output[key]["value"], output[key]["from"])
        for key in output
        if key.startswith(("clip.m", "faces.id"))
    } == {
        "clip.min_seconds": (3.0, "environment"),
        "clip.max_seconds": (14.0, "flag"),
        "faces.identity": (False, "file"),
    }


@pytest.mark.slow
def test_explain_accepts_any_name_of_a_video(flow: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (sample,) = samples_of(flow)
    video = sample.meta["video"]
    names = ["talks.mp4", str(flow / "talks.mp4"), video["id"], f"file-{video['id']}", "talks_", "file-ta"]
    monkeypatch.chdir(flow)
    for name in (*names, sample.key, "./store/../talks.mp4"):
        output = mien_in_process("explain", "--json", name, folder=Path())
        assert output.exit_code == 0, (name, output.exception)
        assert json.loads(output.output)["video"]["id"] == video["id"]
    unknown = mien("explain", "absent.mp4", folder=flow)
    assert (unknown.returncode, unknown.stderr.count("\n")) == (2, 1)
    assert "no video 'absent.mp4' in the catalog" in unknown.stderr


@pytest.mark.slow
def test_every_command_works_from_another_folder(flow: Path, tmp_path: Path) -> None:
    at = {"MIEN_STORE__ROOT": str(flow / "store"), "MIEN_CONFIG": str(flow / "mien.toml")}
    for command in (["status"], ["verify"], ["explain", str(flow / "talks.mp4")], ["doctor"]):
        output = mien(*command, folder=tmp_path, **at)
        assert output.returncode == 0, (command, output.stdout, output.stderr)
    assert "1 sample:" in mien("verify", folder=tmp_path, **at).stdout
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_done_videos_are_not_repeated(flow: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in (flow / "store" / "shards").iterdir()}
    added = mien("add", "--json", "talks.mp4", flow, folder=flow)
    assert added.returncode == 0, added.stderr
    assert (json.loads(added.stdout)["new"], len(json.loads(added.stdout)["known"])) == ([], 1)
    how = ("--local", "--set", "clip.max_seconds=14")
    again = mien("run", *how, folder=flow, MIEN_CLIP__MIN_SECONDS="3")
    assert again.returncode == 0
    assert {path: path.stat().st_mtime_ns for path in (flow / "store" / "shards").iterdir()} == before
    # Nor with another configuration; the result names the videos of the other configuration.
    other = mien("run", *how, "--json", folder=flow, MIEN_CLIP__MIN_SECONDS="4")
    assert (other.returncode, json.loads(other.stdout)["left_alone"]) == (0, 1)


@pytest.mark.slow
def test_add_counts_new_known_and_skipped(tmp_path: Path) -> None:
    films = tmp_path / "films"
    films.mkdir()
    for name in ("a.mp4", "b.MKV", "notes.txt", "more.txt", "voice.wav", "README"):
        (films / name).touch()
    first = mien("add", "films", "absent.mp4", folder=tmp_path)
    assert first.stdout.splitlines() == [
        "3 new, 0 already known",
        "skipped 4 files that are not media: .txt 2, (none) 1, .wav 1",
        "1 skipped sound file: --set clip.require=speech accepts sound",
    ]
    assert mien("add", films / "a.mp4", folder=tmp_path).stdout == "0 new, 1 already known\n"
    (tmp_path / "empty").mkdir()
    output = mien("add", "empty", folder=tmp_path)
    assert (output.returncode, output.stdout) == (
        0, "0 new, 0 already known; found no media files\n",
    )  # fmt: skip


@pytest.mark.slow
def test_reading_commands_create_nothing(tmp_path: Path) -> None:
    for command in (["status"], ["verify"], ["explain", "x"], ["retry", "--all"]):
        output = mien(*command, folder=tmp_path)
        assert output.returncode == 2
        assert output.stderr.startswith(f"mien: no catalog at {tmp_path / 'store' / 'catalog.sqlite'}; ")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_run_without_work_ends(tmp_path: Path) -> None:
    needs_weights()
    (tmp_path / "empty").mkdir()
    assert mien("add", "empty", folder=tmp_path).returncode == 0
    done = mien("run", "--local", "--json", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["samples"] == 0


@pytest.mark.slow
def test_unknown_key_is_refused_before_claims(tmp_path: Path) -> None:
    (tmp_path / "film.mp4").touch()
    assert mien("add", "film.mp4", folder=tmp_path).returncode == 0
    output = mien("run", "--set", "faces.detecter=yunet_2023mar", folder=tmp_path)
    assert (output.returncode, output.stdout) == (2, "")
    assert output.stderr.startswith("mien: unknown key faces.detecter ")
    assert output.stderr.endswith("; did you mean faces.detector?\n")
    output = mien("run", folder=tmp_path, MIEN_TRANSCRIBE__MODLE="tiny")
    assert (output.returncode, output.stderr.count("\n")) == (2, 1)
    assert "did you mean transcribe.model?" in output.stderr
    assert json.loads(mien("explain", "--json", "film.mp4", folder=tmp_path).stdout)["events"] == []


@pytest.mark.slow
def test_permissive_profile_works(tmp_path: Path) -> None:
    needs_weights()
    (tmp_path / "mien.toml").write_text('[weights]\nlicence = "permissive"\n')
    assert mien("add", demo_clip("talks.mp4"), folder=tmp_path).returncode == 0
    refused = mien("run", "--local", folder=tmp_path)
    assert refused.returncode == 2
    assert "yunet_2023mar" in refused.stderr
    with (tmp_path / "mien.toml").open("a") as file:
        file.write('[faces]\ndetector = "yunet_2023mar"\nidentity = false\n')
    assert mien("weights", "pull", folder=tmp_path).returncode == 0
    done = mien("run", "--local", folder=tmp_path)
    assert done.returncode == 0, done.stderr
    samples = samples_of(tmp_path)
    heard = " ".join(word["text"] for sample in samples for word in sample.meta["words"])
    assert "these lights are so bright" in heard
    for sample in samples:
        models = {model["name"] for model in sample.meta["provenance"]["models"]}
        assert models == {"silero_vad_v6", "yunet_2023mar", "whisper-base"}
    assert mien("verify", folder=tmp_path).returncode == 0


@pytest.mark.slow
def test_a_catalog_in_postgresql(tmp_path: Path) -> None:
    needs_weights()
    with running_postgres() as url:
        at = {"MIEN_STORE__CATALOG": url}
        assert mien("add", demo_clip("talks.mp4"), folder=tmp_path, **at).returncode == 0
        done = mien("run", "--local", "--json", folder=tmp_path, **at)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["videos"]["done"] == 1
        assert "talks.mp4" in mien("explain", "talks_", folder=tmp_path, **at).stdout
        assert "done" in mien("status", folder=tmp_path, **at).stdout
        verified = mien("verify", folder=tmp_path, **at)
        assert verified.returncode == 0, verified.stdout
        assert not list((tmp_path / "store").glob("*.sqlite*"))
    assert len(samples_of(tmp_path)) >= 1


@pytest.mark.slow
def test_shards_in_an_object_store(s3_server: S3Server, tmp_path: Path) -> None:
    """On Ray, whose workers write to the store, with the film in the store as well."""
    import pyarrow.fs

    needs_weights()
    s3_server.create_bucket("corpus")
    at = {"MIEN_STORE__SHARDS": "s3://corpus/talking faces", **s3_server.environment}
    options = s3_server.options
    filesystem = pyarrow.fs.S3FileSystem(
        endpoint_override=options["endpoint_override"],
        access_key=options["access_key"],
        secret_key=options["secret_key"],
        region=options["region"],
    )
    with filesystem.open_output_stream("corpus/films/talks.mp4") as file:
        file.write(demo_clip("talks.mp4").read_bytes())
    assert mien("add", "s3://corpus/films/", folder=tmp_path, **at).returncode == 0
    done = mien("run", "--json", folder=tmp_path, **at)
    assert done.returncode == 0, done.stderr
    facts = json.loads(done.stdout)
    assert facts["samples"] >= 1
    verified = mien("verify", "--json", folder=tmp_path, **at)
    assert json.loads(verified.stdout) == {
        "ok": True,
        "shards": facts["shards"],
        "samples": facts["samples"],
        "faults": [],
        "broken": [],
        "videos_waiting_again": 0,
    }
    names = [
        info.base_name for info in filesystem.get_file_info(pyarrow.fs.FileSelector("corpus/talking faces"))
    ]
    assert len(names) == 2 * facts["shards"]
    shard = next(name for name in names if name.endswith(".tar"))
    # One byte is missing, and verify reports it.
    with filesystem.open_input_file(f"corpus/talking faces/{shard}") as file:
        content = file.read()
    with filesystem.open_output_stream(f"corpus/talking faces/{shard}") as file:
        file.write(content[:-1])
    faulty = mien("verify", folder=tmp_path, **at)
    assert faulty.returncode == 1
    assert f"{shard}: sha256 is " in faulty.stdout
