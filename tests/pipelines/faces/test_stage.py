"""The stage on real clips, and on films made of them."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import cv2
import numpy as np
import pytest
import simplejpeg

from mien.ingest.errors import ConfigError, MediaError, ProviderError
from mien.pipelines.data import FaceTrack, Segment
from mien.pipelines.faces.stage import Faces
from mien.pipelines.faces.strip import assemble_strip
from mien.pipelines.stage import ClipSettings, StageContext
from tests.pipelines.faces.real_clips import clip, segment_of, weights

PERMISSIVE: dict[str, Any] = {"detector": "yunet_2023mar", "identity": False}


def ready(require: Any = ("speech", "face"), **settings: Any) -> Faces:
    stage = Faces(**settings)
    stage.setup(StageContext(clip=ClipSettings(require=require)))
    return stage


def faces(segment: Segment, *, require: Any = ("speech", "face"), **settings: Any) -> Segment:
    weights(settings.get("detector", "scrfd_500m"))
    if settings.get("identity", True):
        weights("arcface_w600k_mbf")
    stage = ready(require, **settings)
    (result,) = stage(segment)
    assert result.tracks is not None
    for track in result.tracks:
        assert_sound(track)
    return result


def assert_sound(track: FaceTrack) -> None:
    count = len(track.visible)
    assert track.boxes.shape == (count, 4)
    assert track.landmarks.shape == (count, 5, 2)
    assert len(track.crops) == len(track.motion) == len(track.blur) == len(track.scores) == count
    assert track.visible[0]
    assert track.visible[-1]
    for values in (track.boxes, track.landmarks, track.scores, track.source_seconds, track.blur):
        known = np.isfinite(values).reshape(count, -1).all(1)
        np.testing.assert_array_equal(known, track.visible)
    assert [bool(crop) for crop in track.crops] == track.visible.tolist()
    rows = np.flatnonzero(track.visible)
    offset = track.source_seconds[rows] - (rows + track.first_row) / 25
    assert np.abs(offset).max() <= 0.05 + 1e-6
    assert np.isnan(track.motion[~track.visible]).all()
    assert assemble_strip(track.crops[:100])
    if track.embedding is not None:
        assert np.linalg.norm(track.embedding) == pytest.approx(1, abs=1e-4)


TRACKS = {
    "av1_no_audio.mkv": [],
    "cartoon_6ch_audio.mp4": [],
    "no_face_silent.mp4": [],
    "speech_offscreen_no_face.mp4": [],
    "expressive_silent_audio.mp4": [493],
    "face_leaves_hevc_short_audio.mov": [60],
    "face_no_audio_stream.mp4": [78],
    "german_speaker.mp4": [202],
    "grid_bbaf2n.mpg": [75],
    "grid_brbk7n.mpg": [75],
    "grid_lbax4n.mpg": [75],
    "grid_lrwp9a.mpg": [75],
    "grid_swiz3n.mpg": [75],
    "interview_512.mp4": [200],
    "mp3_audio_two_faces.mp4": [164, 71],
    "speech_22fps.mp4": [154],
    "weekly_address_32fps.mp4": [352],
}
"""Clip to the visible rows of each of its tracks."""


@pytest.mark.slow
@pytest.mark.parametrize("name", TRACKS)
def test_tracks_of_real_clips(name: str) -> None:
    result = faces(segment_of(clip(name)))
    assert result.tracks is not None
    assert [int(track.visible.sum()) for track in result.tracks] == pytest.approx(TRACKS[name], abs=3)
    assert [use.name for use in result.models] == ["scrfd_500m", "arcface_w600k_mbf"]
    assert {use.provider for use in result.models} == {"CPUExecutionProvider"}


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, tracks in TRACKS.items() if len(tracks) == 1])
def test_the_permissive_detector_finds_them_too(name: str) -> None:
    result = faces(segment_of(clip(name)), **PERMISSIVE)
    assert result.tracks
    longest = max(int(track.visible.sum()) for track in result.tracks)
    assert longest >= 0.85 * TRACKS[name][0]
    assert all(track.embedding is None for track in result.tracks)
    assert [use.name for use in result.models] == ["yunet_2023mar"]


@pytest.mark.slow
def test_six_faces_on_a_stage() -> None:
    result = faces(segment_of(clip("stage_six_faces.mp4")))
    assert result.tracks is not None
    at_once = sum(track.first_row <= 230 < track.first_row + len(track.visible) for track in result.tracks)
    assert at_once in (4, 5, 6)
    singer = result.tracks[0]
    assert not singer.visible.all()  # he is off the picture for two shots, and joined across them
    assert singer.first_row + len(singer.visible) == 197


def still_and_moving(name: str, count: int = 60) -> list[np.ndarray]:
    with av.open(str(clip(name))) as film:
        frames = [
            frame.to_ndarray(format="bgr24")
            for _, frame in zip(range(count), film.decode(video=0), strict=False)
        ]
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    return [np.ascontiguousarray(frame[:height, :width]) for frame in frames]


def write(
    path: Path, frames: list[np.ndarray], *, rate: Fraction | int = 25, layout: str = "yuv420p"
) -> Path:
    with av.open(str(path), "w") as film:
        stream: Any = film.add_stream("libx264", rate=rate, options={"crf": "16", "preset": "ultrafast"})
        stream.height, stream.width, stream.pix_fmt = *frames[0].shape[:2], layout
        for picture in frames:
            film.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        film.mux(stream.encode())
    return path


def crops(track: FaceTrack, rows: slice) -> np.ndarray:
    strip = assemble_strip(track.crops[rows])
    pictures: np.ndarray = simplejpeg.decode_jpeg(strip, "BGR")
    return pictures.reshape(-1, 128, 128, 3).astype(int)


@pytest.mark.parametrize("layout", ["yuv444p", "yuv420p10le", "yuv422p"])
def test_layouts_give_the_same_crops(layout: str, tmp_path: Path) -> None:
    frames = still_and_moving("grid_bbaf2n.mpg", 20)
    (plain,) = faces(segment_of(write(tmp_path / "a.mp4", frames)), identity=False).tracks or ()
    (other,) = (
        faces(segment_of(write(tmp_path / "b.mkv", frames, layout=layout)), identity=False).tracks or ()
    )
    assert np.abs(crops(plain, slice(20)) - crops(other, slice(20))).mean() < 3.2


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_a_rotated_film_gives_upright_crops_and_boxes(rotation: int, tmp_path: Path) -> None:
    frames = still_and_moving("grid_bbaf2n.mpg", 20)
    (plain,) = faces(segment_of(write(tmp_path / "a.mp4", frames)), identity=False).tracks or ()
    turned = [np.ascontiguousarray(np.rot90(frame, rotation // 90)) for frame in frames]
    segment = segment_of(write(tmp_path / "b.mp4", turned))
    assert segment.media.video is not None
    video = replace(segment.media.video, rotation_degrees=rotation)
    (other,) = faces(replace(segment, media=replace(segment.media, video=video)), identity=False).tracks or ()
    np.testing.assert_allclose(plain.boxes, other.boxes, atol=3)
    np.testing.assert_allclose(plain.landmarks, other.landmarks, atol=3)
    assert np.abs(crops(plain, slice(20)) - crops(other, slice(20))).mean() < 6


def test_a_cut_between_two_people_ends_the_track_and_the_same_person_is_joined_as_another_shot(
    tmp_path: Path,
) -> None:
    one, two = still_and_moving("grid_bbaf2n.mpg"), still_and_moving("grid_brbk7n.mpg")
    joined = [*one[:30], *two[:30], *one[30:60]]
    tracks = faces(segment_of(write(tmp_path / "a.mp4", joined))).tracks or ()
    spans = [(track.first_row, track.visible.sum(), len(track.visible)) for track in tracks]
    assert spans == [(0, 60, 90), (30, 30, 30)]
    # Mirrored and enlarged it is another shot of the same person at once.
    closer = [np.ascontiguousarray(cv2.resize(frame[40:240, 60:310], frame.shape[1::-1])) for frame in one]
    (track,) = faces(segment_of(write(tmp_path / "b.mp4", [*one[:40], *closer[40:60]]))).tracks or ()
    assert track.visible.all()
    assert track.shots.tolist() == [0] * 40 + [1] * 20


def test_only_what_is_spoken_is_looked_at(tmp_path: Path) -> None:
    film = write(tmp_path / "a.mp4", still_and_moving("grid_bbaf2n.mpg"))
    segment = replace(segment_of(film), speech=((0.8, 1.0),))
    (track,) = faces(segment, identity=False, pad_seconds=0.2).tracks or ()
    assert (track.first_row, len(track.visible)) == (15, 15)
    assert len((faces(segment, identity=False, require=("face",)).tracks or ())[0].visible) == 60
    assert faces(replace(segment, speech=()), identity=False).tracks == ()


def test_segments_that_touch_lose_and_repeat_no_row(tmp_path: Path) -> None:
    weights("scrfd_500m")
    film = write(tmp_path / "a.mp4", still_and_moving("grid_bbaf2n.mpg"), rate=Fraction(30_000, 1001))
    stage = ready(identity=False)
    whole = next(iter(stage(segment_of(film, end=2.0)))).tracks or ()
    parts = [
        next(iter(stage(segment_of(film, start=a, end=b)))).tracks or () for a, b in ((0, 0.8), (0.8, 2.0))
    ]
    seconds = np.concatenate([part[0].source_seconds for part in parts])
    np.testing.assert_array_equal(seconds, whole[0].source_seconds)
    fresh = next(iter(ready(identity=False)(segment_of(film, start=0.8, end=2.0)))).tracks or ()
    np.testing.assert_array_equal(fresh[0].source_seconds, parts[1][0].source_seconds)
    assert fresh[0].crops == parts[1][0].crops


def test_a_slow_film_repeats_its_frames(tmp_path: Path) -> None:
    film = write(tmp_path / "a.mp4", still_and_moving("grid_bbaf2n.mpg", 24), rate=12)
    (track,) = faces(segment_of(film), identity=False).tracks or ()
    assert track.visible.all()
    assert len(np.unique(track.source_seconds)) == 24


def test_a_film_without_video_has_no_tracks() -> None:
    segment = segment_of(clip("grid_bbaf2n.mpg"))
    result = faces(replace(segment, media=replace(segment.media, video=None)))
    assert result.tracks == ()


def test_a_damaged_film_is_an_error_of_the_film(tmp_path: Path) -> None:
    weights("scrfd_500m")
    film = write(tmp_path / "a.mkv", still_and_moving("grid_bbaf2n.mpg"))
    segment = segment_of(film)
    whole = film.read_bytes()
    film.write_bytes(whole[: len(whole) // 3] + bytes(len(whole) // 3) + whole[len(whole) * 2 // 3 :])
    stage = ready(identity=False)
    with pytest.raises(MediaError):
        list(stage(segment))
    film.write_bytes(whole)
    assert next(iter(stage(segment))).tracks


def test_refuses_what_it_does_not_know() -> None:
    with pytest.raises(ConfigError, match="no detector 'mtcnn'"):
        Faces(detector="mtcnn")  # type: ignore[arg-type]


def test_cuda_is_proven_before_anything_starts() -> None:
    import onnxruntime

    weights("scrfd_500m")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    with pytest.raises(ProviderError, match="onnxruntime-gpu"):
        ready(device="cuda", identity=False)
