"""`mien shards show`: one sample as files that any player opens, with correct times."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import soundfile
from av.subtitles.subtitle import AssSubtitle

from tests.shards_command import corrupt_member, shards_error, shards_json, shards_text
from tests.webdataset_samples import ReadSample

KEY = "file-talk007-000700000-00"


class TestShow:
    def test_show_writes_and_lists_every_file(
        self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]
    ) -> None:
        seen = tmp_path / "seen"
        output = shards_text("show", KEY, shards, "--to", seen, folder=tmp_path).splitlines()
        assert output == [str(seen / f"{KEY}.{kind}") for kind in ("mp4", "srt", "wav", "png", "json")]
        assert sorted(path.name for path in seen.iterdir()) == sorted(Path(line).name for line in output)
        sample = truth[KEY]
        assert sample.frames is not None
        sound, hz = soundfile.read(seen / f"{KEY}.wav", dtype="int16")
        assert hz == 16_000
        assert sample.sound is not None
        assert np.array_equal(sound, sample.sound)
        assert json.loads((seen / f"{KEY}.json").read_text()) == sample.meta
        assert "\n  " in (seen / f"{KEY}.json").read_text()
        sheet = cv2.imread(str(seen / f"{KEY}.png"))
        assert sheet is not None
        # The decoder of the strip and OpenCV's use different chroma upsampling.
        assert np.abs(sheet[:128, 128:256].astype(int) - sample.frames[1]).mean() < 4

    def test_video_shows_frames_at_their_times(
        self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]
    ) -> None:
        shards_text("show", KEY, shards, "--to", tmp_path, folder=tmp_path)
        stored = truth[KEY].frames
        assert stored is not None
        with av.open(str(tmp_path / f"{KEY}.mp4")) as film:
            frames = list(film.decode(video=0))
        assert [round(float(frame.time) * 25) for frame in frames] == list(range(len(stored)))
        for frame, expected in zip(frames, stored, strict=True):
            shown = frame.to_ndarray(format="bgr24")
            assert shown.shape == (384, 384, 3)
            back = cv2.resize(shown, (128, 128), interpolation=cv2.INTER_AREA).astype(int)
            distances = [np.abs(back - other).mean() for other in stored]
            assert distances[frames.index(frame)] == min(distances)
            assert np.abs(back - expected).mean() < 12

    def test_video_sound_is_not_shifted(
        self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]
    ) -> None:
        shards_text("show", KEY, shards, "--to", tmp_path, folder=tmp_path)
        sample = truth[KEY]
        assert sample.sound is not None
        with av.open(str(tmp_path / f"{KEY}.mp4")) as film:
            parts = [frame for frame in film.decode(audio=0) if frame.pts is not None and frame.pts >= 0]
        assert parts[0].pts == 0
        heard = np.concatenate([part.to_ndarray()[0] for part in parts])
        expected = sample.sound[4000:12000] / 32768
        lags = np.correlate(heard[3000:13000], expected, "valid")
        assert int(np.argmax(lags)) == 1000

    def test_words_become_subtitles(self, shards: Path, tmp_path: Path, truth: dict[str, ReadSample]) -> None:
        shards_text("show", KEY, shards, "--to", tmp_path, folder=tmp_path)
        words = truth[KEY].meta["words"]
        assert len(words) >= 2
        with av.open(str(tmp_path / f"{KEY}.mp4")) as film:
            (track,) = film.streams.subtitles
            assert track.codec_context.name == "mov_text"
            starts, bold = [], []
            for packet in film.demux(track):
                if packet.size > 2:
                    cue = packet.decode()[0]
                    assert packet.pts is not None
                    assert isinstance(cue, AssSubtitle)
                    starts.append(float(packet.pts * packet.time_base))
                    bold.append(re.findall(rb"\{\\b1\}(\w+)", cue.dialogue)[0])
        assert starts == [pytest.approx(word["start"], abs=0.002) for word in words]
        assert [text.decode() for text in bold] == [word["text"] for word in words]
        srt = (tmp_path / f"{KEY}.srt").read_text()
        assert re.findall(r"<b>(\w+)</b>", srt) == [word["text"] for word in words]
        assert srt.startswith("1\n00:00:00,000 --> 00:00:00,300\n")

    def test_unique_prefix_is_enough(self, shards: Path, tmp_path: Path) -> None:
        output = shards_json("show", "file-talk007", shards, "--to", tmp_path, folder=tmp_path)
        assert output["key"] == KEY
        assert len(output["files"]) == 5

    def test_ambiguous_prefix_is_refused(self, shards: Path, capsys: pytest.CaptureFixture[str]) -> None:
        code, output = shards_error("show", "file-talk01", shards, capsys=capsys)
        assert code == 2
        assert "file-talk010-001000000-00" in output
        assert "add more letters" in output

    @pytest.mark.parametrize("typed", ["talk007", "file-tolk007-000700000-00", "file-talk007-000700000-01"])
    def test_unknown_sample_key_suggests_closest(
        self, shards: Path, capsys: pytest.CaptureFixture[str], typed: str
    ) -> None:
        code, output = shards_error("show", typed, shards, capsys=capsys)
        assert code == 1
        assert output.startswith(f"mien: no key in {shards} starts with '{typed}'; ")
        assert KEY in output

    def test_damaged_sample_is_named_and_writes_nothing(
        self, shards: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        broken = Path(shutil.copytree(shards, tmp_path / "broken"))
        corrupt_member(broken / "talk-000.tar", KEY, "faces.jpg")
        code, output = shards_error("show", KEY, broken, "--to", tmp_path / "seen", capsys=capsys)
        assert code == 1
        assert KEY in output
        assert "faces.jpg" in output
        assert not (tmp_path / "seen").exists()
