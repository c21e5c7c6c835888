"""`mien shards ls`, `stats` and `export`."""

from __future__ import annotations

import io
import json
import re
import shutil
import tarfile
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile

from mien.ingest.storage import open_store
from tests.mien_command import mien_in_process
from tests.s3 import S3Server, s3_server
from tests.shards_command import corrupt_member, shards_error, shards_json, shards_text
from tests.webdataset_samples import ReadSample

__all__ = ["s3_server"]

SAMPLES = 20
KEY = "file-talk007-000700000-00"


class TestLs:
    def test_shards_with_samples_bytes_hours_and_state(self, shards: Path, tmp_path: Path) -> None:
        rows = shards_json("ls", shards, folder=tmp_path)["shards"]
        assert [row["name"] for row in rows] == [f"talk-{n:03d}.tar" for n in range(3)]
        assert [row["samples"] for row in rows] == [8, 8, 4]
        assert [row["bytes"] for row in rows] == [(shards / row["name"]).stat().st_size for row in rows]
        assert all((row["sidecar"], row["state"]) == (True, "committed") for row in rows)

    def test_hours_match_samples(self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]) -> None:
        seconds = sum(len(sample.times) / 25 for sample in truth.values())
        rows = shards_json("ls", shards, folder=tmp_path)["shards"]
        assert sum(row["hours"] for row in rows) * 3600 == pytest.approx(seconds, abs=1e-3)

    def test_uncommitted_shards_are_listed(self, shards: Path, tmp_path: Path) -> None:
        mixed = Path(shutil.copytree(shards, tmp_path / "mixed"))
        (mixed / "talk-001.tar.parquet").unlink()
        (mixed / "talk-002.tar").unlink()
        with (mixed / "talk-000.tar").open("ab") as tar:
            tar.write(b"\0" * 512)
        rows = {row["name"]: row for row in shards_json("ls", mixed, folder=tmp_path)["shards"]}
        assert rows["talk-001.tar"]["state"] == "no sidecar; not committed, ignored by readers"
        assert (rows["talk-001.tar"]["samples"], rows["talk-001.tar"]["sidecar"]) == (None, False)
        assert rows["talk-002.tar"]["state"] == "the tar is missing"
        assert rows["talk-002.tar"]["bytes"] is None
        assert rows["talk-000.tar"]["state"] == "the size of the tar differs from the committed size"
        assert "2 shards, 12 samples" in shards_text("ls", mixed, folder=tmp_path)
        assert "1 more without a sidecar" in shards_text("ls", mixed, folder=tmp_path)

    def test_keys(self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]) -> None:
        assert shards_text("ls", shards, "--keys", folder=tmp_path).split() == list(truth)
        german = shards_text("ls", shards, "--keys", "--where", "language == 'de'", folder=tmp_path).split()
        assert german == [key for key, sample in truth.items() if sample.meta["language"] == "de"]

    def test_configured_store_is_the_default(self, shards: Path, tmp_path: Path) -> None:
        shutil.copytree(shards, tmp_path / "store" / "shards")
        assert len(shards_json("ls", folder=tmp_path)["shards"]) == 3


class TestStats:
    def test_counts_hours_and_quantiles(
        self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]
    ) -> None:
        output = shards_json("stats", shards, folder=tmp_path)
        assert (output["shards"], output["samples"], output["videos"]) == (3, SAMPLES, SAMPLES)
        seconds = sum(len(sample.times) / 25 for sample in truth.values())
        assert output["hours"] * 3600 == pytest.approx(seconds, abs=1e-3)
        sizes = [sample.meta["face"]["size_pixels"] for sample in truth.values()]
        spread = output["quantiles"]["face_size_pixels"]
        assert spread["samples"] == SAMPLES
        assert [spread[f"p{p}"] for p in (5, 50, 95)] == pytest.approx(np.quantile(sizes, (0.05, 0.5, 0.95)))
        assert output["quantiles"]["snr_db"]["p50"] == pytest.approx(19.5)
        languages = {name: share["samples"] for name, share in output["counts"]["language"].items()}
        assert languages == {"en": 15, "de": 5}
        emotions = {name: share["samples"] for name, share in output["counts"]["label:emotion"].items()}
        assert emotions == {"(unknown)": 13, "calm": 4, "angry": 3}

    def test_statistics_with_filter(self, shards: Path, tmp_path: Path) -> None:
        output = shards_json("stats", shards, "--where", "snr_db >= 20 and language == 'de'", folder=tmp_path)
        assert (output["samples"], output["samples_without_filter"], output["shards"]) == (2, SAMPLES, 2)
        assert list(output["counts"]["language"]) == ["de"]
        assert output["quantiles"]["snr_db"]["p5"] >= 20

    def test_statistics_table_matches_json(self, shards: Path, tmp_path: Path) -> None:
        output = shards_text("stats", shards, folder=tmp_path)
        assert output.startswith("20 samples of 20 videos, 0:")
        assert re.search(r"^SNR, dB +20 +10\.95 ", output, re.MULTILINE)
        assert re.search(r"^en +15 ", output, re.MULTILINE)
        assert re.search(r"^calm +4 ", output, re.MULTILINE)

    def test_unknown_column_is_refused(self, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, output = shards_error("stats", shards, "--where", "face_sise_pixels > 3", capsys=capsys)
        assert code == 2
        assert "face_size_pixels" in output


class TestExport:
    def test_members_are_those_of_the_tar(self, shards: Path, tmp_path: Path) -> None:
        out = tmp_path / "out"
        assert shards_text("export", shards, "--to", out, folder=tmp_path).startswith(
            "20 samples, 120 files in "
        )
        for tar in shards.glob("*.tar"):
            with tarfile.open(tar) as archive:
                for member in archive:
                    stored = archive.extractfile(member)
                    assert stored is not None
                    assert (out / member.name).read_bytes() == stored.read()
        assert len(list(out.iterdir())) == 120

    def test_exports_filtered_sound_up_to_limit(
        self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]
    ) -> None:
        out = tmp_path / "out"
        chosen = ["--where", "language == 'en'", "--limit", "3", "--format", "wav"]
        output = shards_json("export", shards, *chosen, "--to", out, folder=tmp_path)
        assert (output["samples"], output["files"], output["left_out"]) == (3, 6, [])
        english = [key for key, sample in truth.items() if sample.meta["language"] == "en"][:3]
        assert sorted(path.stem for path in out.glob("*.wav")) == sorted(english)
        for key in english:
            sound, _ = soundfile.read(out / f"{key}.wav", dtype="int16")
            expected = truth[key].sound
            assert expected is not None
            assert np.array_equal(sound, expected)
            words = [word["text"] for word in truth[key].meta["words"]]
            assert (out / f"{key}.txt").read_text() == " ".join(words)

    def test_damaged_sample_is_skipped_and_named(self, shards: Path, tmp_path: Path) -> None:
        broken = Path(shutil.copytree(shards, tmp_path / "broken"))
        corrupt_member(broken / "talk-000.tar", KEY, "flac")
        asked = ("export", broken, "--format", "wav", "--to", tmp_path / "out", "--json")
        done = mien_in_process("shards", *asked, folder=tmp_path)
        assert done.exit_code == 1
        output = json.loads(done.stdout)
        assert (output["samples"], [left["key"] for left in output["left_out"]]) == (19, [KEY])
        assert KEY in done.stderr
        assert not list((tmp_path / "out").glob(f"{KEY}*"))

    def test_exports_videos(self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]) -> None:
        shards_text(
            "export", shards, "--limit", "2", "--format", "mp4", "--to", tmp_path / "o", folder=tmp_path
        )
        for film in (tmp_path / "o").iterdir():
            with av.open(str(film)) as opened:
                assert [stream.type for stream in opened.streams] == ["video", "audio", "subtitle"]
                assert opened.streams.video[0].frames == len(truth[film.stem].times)
        assert len(list((tmp_path / "o").iterdir())) == 2


def test_shards_in_an_object_store(
    shards: Path, tmp_path: Path, s3_server: S3Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    s3_server.create_bucket("looked-at")
    store = open_store("s3://looked-at/shards", **s3_server.options)
    for file in shards.iterdir():
        store.publish(file, file.name)
    for name, value in s3_server.environment.items():
        monkeypatch.setenv(name, value)
    rows = shards_json("ls", "s3://looked-at/shards", folder=tmp_path)["shards"]
    assert [row["samples"] for row in rows] == [8, 8, 4]
    output = shards_json("show", KEY, "s3://looked-at/shards", "--to", tmp_path / "seen", folder=tmp_path)
    assert len(output["files"]) == 5
    done = mien_in_process("shards", "ls", "s3://never-made/shards", folder=tmp_path)
    assert done.exit_code == 1


class TestForeignShards:
    """A foreign WebDataset: no index, other members, and keys that are paths."""

    @pytest.fixture
    def foreign(self, tmp_path: Path) -> Path:
        folder = tmp_path / "foreign"
        folder.mkdir()
        picture = np.full((20, 30, 3), (10, 200, 90), np.uint8)
        sound = io.BytesIO()
        soundfile.write(sound, np.zeros((4410, 2), np.int16), 44_100, format="WAV")
        with tarfile.open(folder / "data-0000.tar", "w") as tar:
            for key in ("train/0001", "../../escape"):
                for extension, data in (
                    ("png", bytes(cv2.imencode(".png", picture)[1])),
                    ("wav", sound.getvalue()),
                    ("json", b'{"label": 3}'),
                    ("cls", b"3"),
                ):
                    member = tarfile.TarInfo(f"{key}.{extension}")
                    member.size = len(data)
                    tar.addfile(member, io.BytesIO(data))
        return folder

    def test_foreign_shards_are_listed_and_counted(self, foreign: Path, tmp_path: Path) -> None:
        (row,) = shards_json("ls", foreign, folder=tmp_path)["shards"]
        assert (row["samples"], row["hours"], row["sidecar"]) == (2, None, False)
        output = shards_json("stats", foreign, folder=tmp_path)
        assert (output["samples"], output["hours"], output["quantiles"]) == (2, None, {})
        assert shards_text("stats", foreign, folder=tmp_path).startswith("2 samples, in 1 shard")

    def test_foreign_images_and_sound_are_shown(self, foreign: Path, tmp_path: Path) -> None:
        output = shards_json("show", "train/", foreign, "--to", tmp_path / "seen", folder=tmp_path)
        assert output["key"] == "train/0001"
        kinds = sorted(Path(file).suffix for file in output["files"])
        assert kinds == [".json", ".png", ".wav"]
        png = next(file for file in output["files"] if file.endswith(".png"))
        shown = cv2.imread(png)
        assert shown is not None
        assert shown.shape == (20, 30, 3)
        assert shown[0, 0].tolist() == [10, 200, 90]

    def test_keys_cannot_escape_the_folder(self, foreign: Path, tmp_path: Path) -> None:
        out = tmp_path / "a" / "b" / "out"
        before = {path for path in tmp_path.rglob("*") if "cache" not in path.parts}
        shards_text("export", foreign, "--to", out, folder=tmp_path)
        new = {path for path in tmp_path.rglob("*") if "cache" not in path.parts} - before
        assert {path for path in new if path.is_file()} == set(out.iterdir())
        assert len(list(out.iterdir())) == 8

    def test_samples_without_faces_are_not_exported_as_mp4(self, foreign: Path, tmp_path: Path) -> None:
        done = mien_in_process(
            "shards", "export", foreign, "--to", tmp_path / "o", "--format", "mp4", folder=tmp_path
        )
        assert done.exit_code == 1
        assert "has no faces to show" in done.stderr


def test_empty_folder_is_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, output = shards_error("ls", tmp_path, capsys=capsys)
    assert code == 1
    assert output.startswith(f"mien: {tmp_path}: no shard to read")
    code, output = shards_error("ls", "ftp://somewhere/shards", capsys=capsys)
    assert code == 2
