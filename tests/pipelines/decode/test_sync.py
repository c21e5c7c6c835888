"""Flashes and beeps are decoded at their true times in every container."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from mien.ingest.media import Job, VideoRef
from mien.ingest.probe import probe
from mien.pipelines.data import SOUND_HZ, Float64
from mien.pipelines.decode.frames import FrameReader
from mien.pipelines.decode.sound import SoundStream
from tests.sync_films import CONTAINERS, make_face_film, make_sync_film

JOB = Job(video=VideoRef(source="folder", id="x", uri="x"))
HALF_A_FRAME_SECONDS = 0.020
# Much stricter than half a frame: Matroska's rounding for frames, an Opus or AAC onset for sound.
PICTURE_SECONDS, SOUND_SECONDS = 0.001, 0.005

KINDS = [
    (container, vfr, offsets, bframes)
    for container, vfr, offsets, bframes in product(
        CONTAINERS, (False, True), ((0.0, 0.0), (0.37, 0.0), (0.0, 0.253), (7.0, 7.5)), (False, True)
    )
    if container != "avi" or not (vfr or any(offsets) or bframes)
]
SIMPLEST, HARDEST = (False, (0.0, 0.0), False), (True, (7.0, 7.5), True)
"""Tested for each container. The combinations in between are marked slow because there are many."""


def onsets_in(path: Path) -> tuple[Float64, Float64, Float64]:
    """Onset times of flashes and beeps, and all frame times."""
    media = probe(str(path), job=JOB, sha256="", bytes=0)
    frames = [
        (frame.seconds, float(frame.picture.to_ndarray(format="gray").mean()))
        for frame in FrameReader(media).frames(0.0, media.duration_seconds)
    ]
    times, light = np.array(frames).T
    lit = light > (light.min() + light.max()) / 2
    sound = np.concatenate(list(SoundStream(media, block_seconds=3.0))).astype(np.float64)
    loud = np.flatnonzero(np.abs(sound) > 0.35 * np.abs(sound).max())
    onsets = loud[np.diff(loud, prepend=-SOUND_HZ) > 0.2 * SOUND_HZ] / SOUND_HZ
    return times[1:][lit[1:] & ~lit[:-1]], onsets, times


@pytest.mark.parametrize(
    ("container", "vfr", "offsets", "bframes"),
    [
        pytest.param(*kind, marks=[] if kind[1:] in (SIMPLEST, HARDEST) else pytest.mark.slow)
        for kind in KINDS
    ],
)
def test_flashes_and_beeps_have_their_true_times(
    tmp_path: Path, container: str, vfr: bool, offsets: tuple[float, float], bframes: bool
) -> None:
    path = tmp_path / f"film.{container}"
    truth = make_sync_film(
        path,
        container=container,
        vfr=vfr,
        video_offset=offsets[0],
        audio_offset=offsets[1],
        bframes=bframes,
        seconds=6.0,
    )
    flashes, beeps, times = onsets_in(path)
    assert len(flashes) == len(truth.flash_seconds) > 3
    assert len(beeps) == len(truth.beep_seconds) > 3
    assert np.abs(times - truth.frame_seconds).max() < PICTURE_SECONDS < HALF_A_FRAME_SECONDS
    assert np.abs(flashes - truth.flash_seconds).max() < PICTURE_SECONDS
    assert np.abs(beeps - truth.beep_seconds).max() < SOUND_SECONDS < HALF_A_FRAME_SECONDS


@pytest.mark.parametrize("container", CONTAINERS)
def test_face_video_has_true_times(tmp_path: Path, container: str) -> None:
    face = np.random.default_rng(0).integers(0, 120, (97, 131, 3), dtype=np.uint8)
    speech = np.random.default_rng(1).integers(-2000, 2000, 5 * SOUND_HZ, dtype=np.int16)
    path = tmp_path / f"face.{container}"
    offset = 0.0 if container == "avi" else 0.2
    truth = make_face_film(path, face, speech, container=container, audio_offset=offset)
    flashes, beeps, _ = onsets_in(path)
    assert np.abs(flashes - truth.flash_seconds).max() < PICTURE_SECONDS
    assert np.abs(beeps - truth.beep_seconds).max() < SOUND_SECONDS
