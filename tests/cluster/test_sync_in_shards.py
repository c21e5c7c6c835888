"""Faces, sound and reported times agree within 20 ms in the shards as read back.

Films of a real face with flashes and beeps of known times, in every container, rate and offset, go through
the whole pipeline; what webdataset then reads is held against the truth.
"""

from __future__ import annotations

from itertools import product

import av
import numpy as np
import numpy.typing as npt
import pytest

from tests.demo_media import demo_clip, needs_weights
from tests.mien_command import add_and_run
from tests.sync_films import CONTAINERS, FLASH_FRAMES, Truth, make_face_film
from tests.webdataset_samples import ReadSample, read_shards

HALF_A_FRAME_SECONDS = 0.020

KINDS = [
    (container, vfr, offsets, bframes)
    for container, vfr, offsets, bframes in product(
        CONTAINERS, (False, True), ((0.0, 0.0), (0.37, 0.0), (0.0, 0.253)), (False, True)
    )
    if container != "avi" or not (vfr or any(offsets) or bframes)
]


def face_picture() -> npt.NDArray[np.uint8]:
    """(360, 360, 3) RGB: a face from the talking film."""
    with av.open(str(demo_clip("talks.mp4"))) as film:
        for frame in film.decode(video=0):
            if frame.time is not None and frame.time > 4.0:
                picture = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
                # Darker than a flash.
                return np.ascontiguousarray((picture[60:420, 246:606] * 0.55).astype(np.uint8))
    raise AssertionError("the film that talks is shorter than 4 s")


def name_of(kind: tuple[str, bool, tuple[float, float], bool]) -> str:
    container, vfr, offsets, bframes = kind
    return f"{container}_{vfr:d}_{round(offsets[0] * 1000)}_{round(offsets[1] * 1000)}_{bframes:d}"


def gap_at(
    frame_seconds: npt.NDArray[np.float64], seconds: npt.NDArray[np.float64]
) -> npt.NDArray[np.float64]:
    """(N,) seconds between the two frames around each of `seconds` (N,)."""
    after = np.clip(np.searchsorted(frame_seconds, seconds), 1, len(frame_seconds) - 1)
    gaps: npt.NDArray[np.float64] = frame_seconds[after] - frame_seconds[after - 1]
    return gaps


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Truth], dict[str, list[ReadSample]]]:
    needs_weights()
    folder = tmp_path_factory.mktemp("sync")
    (folder / "films").mkdir()
    face = face_picture()
    truths = {}
    for kind in KINDS:
        container, vfr, offsets, bframes = kind
        truths[name_of(kind)] = make_face_film(
            folder / "films" / f"{name_of(kind)}.{container}",
            face,
            None,
            container=container,
            vfr=vfr,
            video_offset=offsets[0],
            audio_offset=offsets[1],
            bframes=bframes,
            seconds=6.0,
        )
    add_and_run(folder / "store", folder / "films", flags=('clip.require=["face"]', "faces.identity=false"))
    read: dict[str, list[ReadSample]] = {}
    for sample in read_shards(folder / "store" / "shards"):
        read.setdefault(sample.video, []).append(sample)
    return truths, read


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS, ids=name_of)
def test_flashes_beeps_and_times_agree(
    kind: tuple[str, bool, tuple[float, float], bool],
    films: tuple[dict[str, Truth], dict[str, list[ReadSample]]],
) -> None:
    truth, samples = films[0][name_of(kind)], films[1][name_of(kind)]
    flashes, beeps = 0, 0
    frame_times = np.array(truth.frame_seconds)
    first = np.abs(frame_times[None, :] - np.array(truth.flash_seconds)[:, None]).argmin(axis=1)
    flashing = np.isin(np.arange(len(frame_times)), first[:, None] + np.arange(FLASH_FRAMES))
    for sample in samples:
        start = sample.meta["start_seconds"]
        assert sample.frames is not None and sample.sound is not None
        light = sample.frames.astype(np.float32).mean(axis=(1, 2, 3))
        # A bridged row is plain grey and has no source time.
        known = np.isfinite(sample.times)
        lit = light > (np.median(light[known]) + light[known].max()) / 2
        rising = lit[1:] & ~lit[:-1] & known[1:] & known[:-1]
        rows = np.flatnonzero(known)
        shown = np.abs(frame_times[None, :] - sample.times[rows, None]).argmin(axis=1)
        # The time of a row is the time of a frame of the film, and the row shows that frame.
        assert np.abs(frame_times[shown] - sample.times[rows]).max() < 0.002
        assert (lit[rows] == flashing[shown]).all()
        # The row is as close to its time on the uniform grid as the frames of the film allow.
        clock = start + rows / 25
        off = np.abs(sample.times[rows] - clock)
        assert (off <= np.maximum(HALF_A_FRAME_SECONDS, gap_at(frame_times, clock) / 2) + 0.002).all()
        flashes += int(rising.sum())
        sound = np.abs(sample.sound.astype(np.float64))
        loud = np.flatnonzero(sound > 0.35 * 24_000)
        starts = loud[np.diff(loud, prepend=-16_000) > 3_200] / 16_000
        for at in starts[starts > 0.01]:
            beep = start + at
            assert min(abs(beep - known_beep) for known_beep in truth.beep_seconds) < HALF_A_FRAME_SECONDS
            beeps += 1
    # All are present, except at the edges of a clip.
    assert flashes >= len(truth.flash_seconds) - 2 and flashes >= 3
    assert beeps >= len(truth.beep_seconds) - 2 and beeps >= 3
