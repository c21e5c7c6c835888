"""Probing and decoding real clips agrees with their manifest and finds no damage."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from tests.ingest.test_hostile import JOB, MEDIA, decode_all

MANIFEST = MEDIA / "MANIFEST.tsv"
ROWS = list(csv.DictReader(MANIFEST.open(), delimiter="\t")) if MANIFEST.exists() else []


@pytest.mark.skipif(not ROWS, reason="no shared/media beside the repository")
@pytest.mark.parametrize("row", ROWS, ids=lambda row: row["file"])
def test_real_clip_matches_manifest(row: dict[str, str]) -> None:
    path: Path = MEDIA / row["file"]
    media = decode_all(str(path))
    assert media.job == JOB
    assert media.duration_seconds == pytest.approx(float(row["duration_seconds"]), abs=0.1)
    codec, size, fps = row["video"].split()
    assert media.video is not None
    assert media.video.codec == codec
    assert f"{media.video.width_pixels}x{media.video.height_pixels}" == size
    assert media.video.declared_fps == pytest.approx(float(fps.removesuffix("fps")), abs=0.01)
    pictures = re.search(r" (\d+)fr ", row["facts"])
    assert pictures is not None
    assert media.video.packets == int(pictures[1])
    if row["audio"] == "no audio stream":
        assert media.audio is None
    else:
        assert media.audio is not None
        heard = f"{media.audio.codec} {media.audio.sample_rate_hz}Hz {media.audio.channels}ch"
        assert heard == row["audio"]
