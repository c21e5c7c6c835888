"""The faces stage on real clips, and on videos made of their frames."""

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
from mien.pipelines.annotators.speaking import Speaking
from mien.pipelines.data import FaceTrack, Segment
from mien.pipelines.faces.stage import Faces
from mien.pipelines.samples.film_strip import assemble_strip
from mien.pipelines.stage import ClipSettings, StageContext
from tests.pipelines.faces.real_clips import clip, require_weights, segment_of

PERMISSIVE: dict[str, Any] = {"detector": "yunet_2023mar", "identity": False}


def motion_of(face: FaceTrack) -> np.ndarray:
    return face.measures["speaking"][:, 0]


def ready(require: Any = ("speech", "face"), **settings: Any) -> Faces:
    stage = Faces(**settings)
    context = StageContext(
        clip=ClipSettings(require=require), annotators=(Speaking(),), max_pause_seconds=0.0
    )
    stage.setup(context)
    return stage


def faces(segment: Segment, *, require: Any = ("speech", "face"), **settings: Any) -> Segment:
    require_weights(settings.get("detector", "scrfd_500m"))
    if settings.get("identity", True):
        require_weights("arcface_w600k_mbf")
    stage = ready(require, **settings)
    (result,) = stage(segment)
    assert result.tracks is not None
    for track in result.tracks:
        check_track(track)
    return result


def check_track(track: FaceTrack) -> None:
    count = len(track.visible)
    assert track.boxes.shape == (count, 4)
    assert track.landmarks.shape == (count, 5, 2)
    assert len(track.crops) == len(motion_of(track)) == len(track.blur) == len(track.scores) == count
    assert track.visible[0]
    assert track.visible[-1]
    for values in (track.boxes, track.landmarks, track.scores, track.source_seconds, track.blur):
        known = np.isfinite(values).reshape(count, -1).all(1)
        np.testing.assert_array_equal(known, track.visible)
    assert [bool(crop) for crop in track.crops] == track.visible.tolist()
    rows = np.flatnonzero(track.visible)
    offset = track.source_seconds[rows] - (rows + track.first_row) / 25
    assert np.abs(offset).max() <= 0.05 + 1e-6
    assert np.isnan(motion_of(track)[~track.visible]).all()
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
"""Number of visible rows in each track of each clip."""


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
def test_permissive_detector_on_real_clips(name: str) -> None:
    result = faces(segment_of(clip(name)), **PERMISSIVE)
    assert result.tracks
    longest = max(int(track.visible.sum()) for track in result.tracks)
    assert longest >= 0.85 * TRACKS[name][0]
    assert all(track.embedding is None for track in result.tracks)
    assert [use.name for use in result.models] == ["yunet_2023mar"]


@pytest.mark.slow
def test_six_faces_in_one_clip() -> None:
    result = faces(segment_of(clip("stage_six_faces.mp4")))
    assert result.tracks is not None
    at_once = sum(track.first_row <= 230 < track.first_row + len(track.visible) for track in result.tracks)
    assert at_once in (4, 5, 6)
    singer = result.tracks[0]
    assert not singer.visible.all()  # absent for two shots, and joined across them
    assert singer.first_row + len(singer.visible) == 197


def real_frames(name: str, count: int = 60) -> list[np.ndarray]:
    with av.open(str(clip(name))) as film:
        frames = [
            frame.to_ndarray(format="bgr24")
            for _, frame in zip(range(count), film.decode(video=0), strict=False)
        ]
    height, width = (side // 2 * 2 for side in frames[0].shape[:2])
    return [np.ascontiguousarray(frame[:height, :width]) for frame in frames]


def write_video(
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
def test_pixel_formats_give_the_same_crops(layout: str, tmp_path: Path) -> None:
    frames = real_frames("grid_bbaf2n.mpg", 20)
    (expected,) = faces(segment_of(write_video(tmp_path / "a.mp4", frames)), identity=False).tracks or ()
    (actual,) = (
        faces(segment_of(write_video(tmp_path / "b.mkv", frames, layout=layout)), identity=False).tracks or ()
    )
    assert np.abs(crops(expected, slice(20)) - crops(actual, slice(20))).mean() < 3.2


@pytest.mark.parametrize("rotation", [90, 180, 270])
def test_rotated_video_gives_upright_crops_and_boxes(rotation: int, tmp_path: Path) -> None:
    frames = real_frames("grid_bbaf2n.mpg", 20)
    (expected,) = faces(segment_of(write_video(tmp_path / "a.mp4", frames)), identity=False).tracks or ()
    turned = [np.ascontiguousarray(np.rot90(frame, rotation // 90)) for frame in frames]
    segment = segment_of(write_video(tmp_path / "b.mp4", turned))
    assert segment.media.video is not None
    video = replace(segment.media.video, rotation_degrees=rotation)
    (actual,) = (
        faces(replace(segment, media=replace(segment.media, video=video)), identity=False).tracks or ()
    )
    np.testing.assert_allclose(expected.boxes, actual.boxes, atol=3)
    np.testing.assert_allclose(expected.landmarks, actual.landmarks, atol=3)
    assert np.abs(crops(expected, slice(20)) - crops(actual, slice(20))).mean() < 6


def test_joins_one_person_across_cuts(
    tmp_path: Path,
) -> None:
    one, two = real_frames("grid_bbaf2n.mpg"), real_frames("grid_brbk7n.mpg")
    joined = [*one[:30], *two[:30], *one[30:60]]
    tracks = faces(segment_of(write_video(tmp_path / "a.mp4", joined))).tracks or ()
    spans = [(track.first_row, track.visible.sum(), len(track.visible)) for track in tracks]
    assert spans == [(0, 60, 90), (30, 30, 30)]
    # The enlarged frames are another shot of the same person.
    closer = [np.ascontiguousarray(cv2.resize(frame[40:240, 60:310], frame.shape[1::-1])) for frame in one]
    (track,) = faces(segment_of(write_video(tmp_path / "b.mp4", [*one[:40], *closer[40:60]]))).tracks or ()
    assert track.visible.all()
    assert track.shots.tolist() == [0] * 40 + [1] * 20


def test_searches_only_around_speech(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", real_frames("grid_bbaf2n.mpg"))
    segment = replace(segment_of(film), speech=((0.8, 1.0),))
    (track,) = faces(segment, identity=False, pad_seconds=0.2).tracks or ()
    assert (track.first_row, len(track.visible)) == (15, 15)
    assert len((faces(segment, identity=False, require=("face",)).tracks or ())[0].visible) == 60
    assert faces(replace(segment, speech=()), identity=False).tracks == ()


def test_touching_segments_lose_and_repeat_no_rows(tmp_path: Path) -> None:
    require_weights("scrfd_500m")
    film = write_video(tmp_path / "a.mp4", real_frames("grid_bbaf2n.mpg"), rate=Fraction(30_000, 1001))
    stage = ready(identity=False)
    complete = next(iter(stage(segment_of(film, end=2.0)))).tracks or ()
    halves = [
        next(iter(stage(segment_of(film, start=a, end=b)))).tracks or () for a, b in ((0, 0.8), (0.8, 2.0))
    ]
    seconds = np.concatenate([part[0].source_seconds for part in halves])
    np.testing.assert_array_equal(seconds, complete[0].source_seconds)
    reopened = next(iter(ready(identity=False)(segment_of(film, start=0.8, end=2.0)))).tracks or ()
    np.testing.assert_array_equal(reopened[0].source_seconds, halves[1][0].source_seconds)
    assert reopened[0].crops == halves[1][0].crops


def test_low_frame_rate_repeats_frames(tmp_path: Path) -> None:
    film = write_video(tmp_path / "a.mp4", real_frames("grid_bbaf2n.mpg", 24), rate=12)
    (track,) = faces(segment_of(film), identity=False).tracks or ()
    assert track.visible.all()
    assert len(np.unique(track.source_seconds)) == 24


def test_file_without_video_has_no_tracks() -> None:
    segment = segment_of(clip("grid_bbaf2n.mpg"))
    result = faces(replace(segment, media=replace(segment.media, video=None)))
    assert result.tracks == ()


def test_damaged_video_raises_media_error(tmp_path: Path) -> None:
    require_weights("scrfd_500m")
    film = write_video(tmp_path / "a.mkv", real_frames("grid_bbaf2n.mpg"))
    segment = segment_of(film)
    complete = film.read_bytes()
    film.write_bytes(
        complete[: len(complete) // 3] + bytes(len(complete) // 3) + complete[len(complete) * 2 // 3 :]
    )
    stage = ready(identity=False)
    with pytest.raises(MediaError):
        list(stage(segment))
    film.write_bytes(complete)
    assert next(iter(stage(segment))).tracks


def test_close_releases_video_and_models(tmp_path: Path) -> None:
    require_weights("scrfd_500m")
    stage = ready(identity=False)
    list(stage(segment_of(write_video(tmp_path / "a.mp4", real_frames("grid_bbaf2n.mpg", 10)))))
    reader: Any = stage._reader
    assert reader._reader._container is not None
    stage.close()
    assert reader._reader._container is None
    assert (stage._reader, stage._detector, stage._embedder) == (None, None, None)


def test_rejects_unknown_detector() -> None:
    with pytest.raises(ConfigError, match="no detector 'mtcnn'"):
        Faces(detector="mtcnn")  # type: ignore[arg-type]


def test_setup_fails_without_cuda() -> None:
    import onnxruntime

    require_weights("scrfd_500m")
    if "CUDAExecutionProvider" in onnxruntime.get_available_providers():
        pytest.skip("needs an onnxruntime without CUDA")
    with pytest.raises(ProviderError, match="onnxruntime-gpu"):
        ready(device="cuda", identity=False)
