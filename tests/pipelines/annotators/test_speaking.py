from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from mien.pipelines.annotators.speaking import SPEAKING_THRESHOLD, Speaking, mouth_motion, speaking_score
from mien.pipelines.faces.stage import Faces
from mien.pipelines.stage import ClipSettings, StageContext
from tests.pipelines.faces.real_clips import clip, require_weights, segment_of
from tests.pipelines.faces.test_stage import real_frames, write_video


def face(seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return cv2.resize(rng.integers(40, 200, (16, 16), np.uint8), (64, 64), interpolation=cv2.INTER_CUBIC)


def talking(count: int) -> np.ndarray:
    frames = np.repeat(face()[None], count, 0)
    for number, frame in enumerate(frames):
        opening = 3 + 3 * np.sin(2 * np.pi * number / 7)
        cv2.ellipse(frame, (32, 47), (8, max(1, round(opening))), 0, 0, 360, 20, -1)
    return frames


def moved(frames: np.ndarray) -> np.ndarray:
    """The same, slightly shifted, turned and zoomed, as misalignment does."""
    out = []
    for number, frame in enumerate(frames):
        turn = cv2.getRotationMatrix2D((32, 32), 1.0 * np.sin(number / 4), 1 + 0.01 * np.sin(number / 6))
        turn[:, 2] += (0.6 * np.sin(number / 3), 0.5 * np.cos(number / 5))
        out.append(cv2.warpAffine(frame, turn, (64, 64), borderMode=cv2.BORDER_REFLECT))
    return np.stack(out)


def mean_motion(frames: np.ndarray, fps: float = 25.0) -> float:
    return float(np.nanmean(mouth_motion(frames, np.arange(len(frames)) / fps)))


def test_still_picture_gives_zero_motion() -> None:
    still = np.repeat(face()[None], 50, 0)
    assert mean_motion(still) < 1e-3
    gains = 1 + 0.2 * np.sin(np.arange(50) / 5)
    assert mean_motion(np.clip(still * gains[:, None, None], 0, 255).astype(np.uint8)) < 0.05
    assert mean_motion(moved(still)) < 0.3
    noise = np.random.default_rng(0).normal(0, 2, still.shape)
    assert mean_motion(np.clip(still + noise, 0, 255).astype(np.uint8)) < 0.3


def test_talking_exceeds_threshold_with_moving_head() -> None:
    assert mean_motion(talking(50)) > 2
    assert mean_motion(moved(talking(50))) > 0.6


@pytest.mark.parametrize("fps", [12.0, 23.976, 30.0, 60.0])
def test_frame_rates(fps: float) -> None:
    assert mean_motion(talking(60), fps) > 0.8


def test_repeated_frames_do_not_hide_motion() -> None:
    frames = talking(60)
    assert mean_motion(frames[np.arange(60) // 2 * 2]) > 1


def test_motion_is_unknown_during_a_flash() -> None:
    still = np.repeat(face()[None], 50, 0)
    still[20:22] = np.clip(still[20:22].astype(int) * 2, 0, 255)
    motion = mouth_motion(still, np.arange(50) / 25)
    assert np.isnan(motion[20:22]).all()
    assert np.nanmax(motion) < 0.05


def test_unknown_at_the_beginning_and_after_gaps() -> None:
    seconds = np.concatenate([np.arange(10), np.arange(10) + 50]) / 25
    unknown = np.flatnonzero(np.isnan(mouth_motion(talking(20), seconds))).tolist()
    assert unknown == [0, 1, 10, 11]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_too_few_pictures_give_unknown_motion(count: int) -> None:
    motion = mouth_motion(talking(3)[:count], np.arange(count) / 25)
    assert motion.shape == (count,)
    assert np.isnan(motion).all()


def test_score_uses_rows_with_speech_only() -> None:
    motion = np.r_[np.full(100, 2.0), np.zeros(100)].astype(np.float32)
    speech = np.r_[np.ones(100, bool), np.zeros(100, bool)]
    score = speaking_score(motion, speech)
    assert score.shape == (200,)
    assert score.dtype == np.float32
    np.testing.assert_allclose(score[:100], 2 / 2.6, rtol=1e-5)
    assert (score[100:] == 0).all()


def test_score_bridges_short_gaps_only() -> None:
    motion = np.full(200, np.nan, np.float32)
    motion[:50:2] = 1.0
    score = speaking_score(motion, np.ones(200, bool))
    assert np.isfinite(score[:60]).all()
    assert np.isnan(score[100:]).all()
    assert speaking_score(motion[:0], np.ones(0, bool)).shape == (0,)


def score_of(path: Path) -> np.ndarray:
    require_weights("scrfd_500m")
    stage = Faces(identity=False)
    stage.setup(StageContext(clip=ClipSettings(require=("face",)), annotators=(Speaking(),)))
    (result,) = stage(segment_of(path))
    track = max(result.tracks or (), key=lambda one: int(one.visible.sum()))
    motion = track.measures["speaking"][:, 0]
    return speaking_score(motion, np.ones(len(motion), bool))


GRID = tuple(f"grid_{sentence}.mpg" for sentence in ("bbaf2n", "brbk7n", "lbax4n", "lrwp9a", "swiz3n"))
TALKING = (*GRID, "interview_512.mp4", "weekly_address_32fps.mp4", "speech_22fps.mp4", "german_speaker.mp4")


@pytest.mark.slow
@pytest.mark.parametrize("name", TALKING)
def test_talking_clips_are_kept(name: str) -> None:
    score = score_of(clip(name))
    assert np.median(score) > SPEAKING_THRESHOLD + 0.15
    assert (score >= SPEAKING_THRESHOLD).mean() > 0.8


@pytest.mark.slow
@pytest.mark.parametrize(
    "name", ["grid_bbaf2n.mpg", "interview_512.mp4", "german_speaker.mp4", "speech_22fps.mp4"]
)
@pytest.mark.parametrize("motion", ["still", "moved"])
def test_still_face_is_dropped(name: str, motion: str, tmp_path: Path) -> None:
    still = real_frames(name, 11)[-1]
    height, width = still.shape[:2]
    frames = []
    for number in range(75):
        turn = cv2.getRotationMatrix2D(
            (width / 2, height / 2), 3 * np.sin(number / 12), 1 + 0.1 * np.sin(number / 25)
        )
        turn[:, 2] += (0.03 * width * np.sin(number / 9), 0.02 * height * np.sin(number / 7))
        frames.append(still if motion == "still" else cv2.warpAffine(still, turn, (width, height)))
    score = score_of(write_video(tmp_path / "frozen.mp4", frames))
    assert score.max() < (0.15 if motion == "still" else SPEAKING_THRESHOLD)
