"""Shot boundary detection on synthetic and real videos."""

from __future__ import annotations

from itertools import permutations

import av
import cv2
import numpy as np
import pytest

from mien.pipelines.decode.frames import FrameReader
from mien.pipelines.faces.grid_frames import TimedFrame, sample_rows
from mien.pipelines.faces.shot_boundaries import mark_shot_starts
from tests.pipelines.faces.real_clips import clip, segment_of


def picture(seed: int, width: int = 320, height: int = 180) -> np.ndarray:
    rng = np.random.default_rng(seed)
    coarse = rng.integers(30, 220, (6, 9, 3), np.uint8)
    return cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)


def cuts_of(pictures: list[np.ndarray], layout: str = "yuv420p") -> list[int]:
    stored = (
        av.VideoFrame.from_ndarray(p, format="rgb24").reformat(format=layout, threads=1) for p in pictures
    )
    frames = (
        TimedFrame(number / 25, frame, range(number, number + 1)) for number, frame in enumerate(stored)
    )
    return [frame.rows.start for frame, cut in mark_shot_starts(frames) if cut]


def brightened(one: np.ndarray, gain: float) -> np.ndarray:
    return np.clip(one.astype(float) * gain, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("layout", ["yuv420p", "yuv420p10le", "yuv444p", "nv12", "rgb24", "yuyv422", "gray"])
def test_finds_cut_in_any_pixel_format(layout: str) -> None:
    assert cuts_of([picture(0)] * 10 + [picture(1)] * 10, layout) == [10]


@pytest.mark.parametrize("size", [(64, 36), (180, 320), (322, 242), (1920, 1080)])
def test_finds_cut_at_any_size(size: tuple[int, int]) -> None:
    assert cuts_of([picture(0, *size)] * 8 + [picture(1, *size)] * 8) == [8]


@pytest.mark.parametrize("length", [1, 2, 3])
@pytest.mark.parametrize("gain", [0.1, 2.5, 6.0])
def test_flash_is_no_cut(length: int, gain: float) -> None:
    one = picture(0)
    assert cuts_of([one] * 10 + [brightened(one, gain)] * length + [one] * 10) == []
    assert cuts_of([one] * 10 + [np.full_like(one, 255)] * length + [one] * 10) == []


def test_repeated_flashes_are_no_cuts() -> None:
    one = picture(0)
    assert cuts_of([brightened(one, 6.0) if number % 4 == 2 else one for number in range(60)]) == []


def test_finds_cut_at_a_flash() -> None:
    one, two = picture(0), picture(1)
    assert cuts_of([one] * 10 + [brightened(one, 6.0)] * 2 + [two] * 10) in ([10], [12], [10, 12])


def test_fade_and_lighting_change_are_no_cuts() -> None:
    one = picture(0)
    assert cuts_of([brightened(one, 1 - number / 30) for number in range(30)]) == []
    assert cuts_of([one] * 10 + [brightened(one, 0.5)] * 10) == []


@pytest.mark.parametrize("speed", [4, 12, 25, 40])
def test_pan_is_no_cut(speed: int) -> None:
    wide = picture(0, 320 + 60 * speed, 180)
    wide = cv2.addWeighted(wide, 0.5, picture(7, wide.shape[1], 180), 0.5, 0)
    assert cuts_of([wide[:, number * speed : number * speed + 320] for number in range(60)]) == []


def test_shaking_camera_is_no_cut() -> None:
    wide, rng = picture(0, 400, 260), np.random.default_rng(1)
    drift = np.cumsum(rng.normal(0, 3, (60, 2)), axis=0).astype(int)
    offsets = np.abs((drift + 40) % 160 - 80)
    assert cuts_of([wide[y : y + 180, x : x + 320] for x, y in offsets.tolist()]) == []


def test_finds_all_short_shots() -> None:
    shots = [picture(seed) for seed in range(6) for _ in range(6)]
    assert cuts_of(shots) == [6, 12, 18, 24, 30]


def test_cut_at_last_frame_and_empty_videos() -> None:
    assert cuts_of([picture(0)]) == []
    assert cuts_of([]) == []
    assert cuts_of([picture(0)] * 8 + [picture(1)]) == [8]


REAL = (
    "grid_bbaf2n.mpg",
    "grid_brbk7n.mpg",
    "interview_512.mp4",
    "stage_six_faces.mp4",
    "german_speaker.mp4",
)


@pytest.mark.slow
def test_finds_cuts_between_real_clips() -> None:
    """Includes cuts between two speakers in front of the same wall."""
    films = {}
    for name in REAL:
        media = segment_of(clip(name)).media
        films[name] = list(sample_rows(FrameReader(media).frames(0.0, 2.5), range(60), 0.05))
    for one, two in permutations(REAL, 2):
        joined = [*films[one][:12], *films[two][20:32]]
        assert len(joined) == 24
        frames = [TimedFrame(n / 25, frame.picture, range(n, n + 1)) for n, frame in enumerate(joined)]
        assert [frame.rows.start for frame, cut in mark_shot_starts(frames) if cut] == [12], (one, two)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "cuts"),
    [
        ("stage_six_faces.mp4", [38, 60, 90, 197]),
        ("mp3_audio_two_faces.mp4", [57]),
        ("interview_512.mp4", []),
        ("expressive_silent_audio.mp4", []),
        ("speech_offscreen_no_face.mp4", []),
    ],
)
def test_finds_cuts_within_real_clips(name: str, cuts: list[int]) -> None:
    segment = segment_of(clip(name))
    decoded = FrameReader(segment.media).frames(segment.start, segment.end)
    frames = sample_rows(decoded, range(round(segment.end * 25)), 0.05)
    assert [frame.rows.start for frame, cut in mark_shot_starts(frames) if cut] == cuts
