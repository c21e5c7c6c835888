"""`mien shards` on a foreign WebDataset, which may be malicious."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.cluster.cli.main import main
from tests.shards_command import shards_error, shards_json, shards_text

RED = "k\x1b[31m2"
MEMBERS = {
    "../../outside/a.txt": b"a",
    "/absolute/b.txt": b"b",
    "pictures.jpg": cv2.imencode(".jpg", np.full((8, 8, 3), 9, np.uint8))[1].tobytes(),
    "pictures.png": cv2.imencode(".png", np.full((4, 4, 3), 7, np.uint8))[1].tobytes(),
    f"{RED}.txt": b"c",
    f"{'long' * 50}.{'e' * 250}": b"d",
    "pickled.pkl": b"cos\nsystem\n(S'false'\ntR.",
}


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    folder = tmp_path / "foreign"
    folder.mkdir()
    with tarfile.open(folder / "a.tar", "w") as tar:
        for name, data in MEMBERS.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return folder


def test_members_stay_inside_the_folder(foreign: Path, tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    shards_json("export", foreign, "--to", out, folder=tmp_path)

    assert sorted(path.read_bytes() for path in out.iterdir()) == sorted(MEMBERS.values())
    assert {path.name for path in tmp_path.iterdir()} >= {"deep", "foreign"}
    assert not any((tmp_path / name).exists() for name in ("outside", "deep/outside"))
    assert not Path("/absolute").exists()


def test_two_images_become_two_files(foreign: Path, tmp_path: Path) -> None:
    output = shards_json("show", "pictures", foreign, "--to", tmp_path / "seen", folder=tmp_path)
    files = [Path(name) for name in output["files"]]

    assert {file.name for file in files} == {"pictures.png", "pictures.png.png"}
    assert {np.asarray(cv2.imread(str(file))).shape[0] for file in files} == {4, 8}


def test_sample_without_viewable_parts(
    foreign: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code, output = shards_error("show", "pickled", foreign, "--to", tmp_path / "seen", capsys=capsys)
    assert code == 1
    assert output.startswith("mien: sample pickled: it only has pkl")


def test_keys_are_escaped_on_terminals_only(
    foreign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert RED in shards_text("ls", "--keys", foreign, folder=tmp_path)
    terminal = Terminal()
    monkeypatch.setattr("sys.stdout", terminal)
    with pytest.raises(SystemExit):
        main(["shards", "ls", "--keys", str(foreign)])
    assert "pickled\n" in terminal.getvalue()
    assert "\x1b" not in terminal.getvalue()
