"""Probing files whose properties are known."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from mien.ingest.errors import (
    AccessDeniedError,
    MienError,
    MissingFileError,
    MissingProgramError,
    StorageError,
)
from mien.ingest.ffmpeg import find_ffmpeg
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.probe import probe
from mien.ingest.probe.open_media import _os_error
from tests.noise_films import write_noise
from tests.sync_films import CONTAINERS, make_sync_film

JOB = Job(video=VideoRef(source="folder", id="x", uri="x"))


def probed(path: Path | str) -> MediaFile:
    return probe(str(path), job=JOB, sha256="ab", bytes=7)


def test_probe_passes_job_and_hash_through(tmp_path: Path) -> None:
    write_noise(tmp_path / "x.mp4")
    media = probed(tmp_path / "x.mp4")
    assert (media.job, media.sha256, media.bytes, media.path) == (JOB, "ab", 7, str(tmp_path / "x.mp4"))


@pytest.mark.parametrize("container", CONTAINERS)
@pytest.mark.parametrize("vfr", [False, True])
def test_times_and_rates(tmp_path: Path, container: str, vfr: bool) -> None:
    if container == "avi" and vfr:
        pytest.skip("AVI has no variable frame rate")
    path = tmp_path / "x.bin"
    offset = 0.0 if container == "avi" else 0.4
    truth = make_sync_film(path, container=container, vfr=vfr, video_offset=offset, seconds=4.0)
    media = probed(path)
    assert media.video is not None and media.audio is not None
    assert media.video.start_seconds == pytest.approx(truth.frame_seconds[0], abs=0.001)
    assert media.video.end_seconds == pytest.approx(truth.frame_seconds[-1] + 0.04, abs=0.03)
    assert media.video.packets == len(truth.frame_seconds) == 100
    assert media.video.variable_frame_rate is vfr
    assert media.video.max_gap_seconds == pytest.approx(0.064 if vfr else 0.04, abs=0.002)
    assert media.video.mean_fps == pytest.approx(25, rel=0.1 if vfr else 0.001)
    assert (media.video.width_pixels, media.video.height_pixels) == (160, 120)
    assert media.audio.start_seconds == pytest.approx(truth.sound_start_seconds, abs=0.03)
    assert media.audio.max_gap_seconds < 0.002 or container == "mkv"
    assert media.duration_seconds == pytest.approx(4.0 + offset, abs=0.15)


def test_rotation(tmp_path: Path) -> None:
    write_noise(tmp_path / "x.mp4", turned=True)
    video = probed(tmp_path / "x.mp4").video
    assert video is not None
    assert (video.rotation_degrees, video.width_pixels, video.height_pixels) == (90, 64, 48)


def test_cover_art_is_no_video(tmp_path: Path) -> None:
    write_noise(tmp_path / "x.mp3", format="mp3", video=None, audio="libmp3lame", cover=True)
    media = probed(tmp_path / "x.mp3")
    assert media.video is None and media.audio is not None
    assert media.other_streams == 1


def test_stream_without_packets_is_missing(tmp_path: Path) -> None:
    options = {"movflags": "empty_moov"}
    write_noise(tmp_path / "x.mp4", seconds=0, options=options)
    media = probed(tmp_path / "x.mp4")
    assert media.audio is None and media.video is not None
    assert media.other_streams == 1


def test_playlist_opens_no_other_file(tmp_path: Path) -> None:
    """Reading the target would update its old access time, even with `relatime`."""
    target = tmp_path / "target.ts"
    write_noise(target, format="mpegts")
    os.utime(target, (1_000_000_000, 1_000_000_001))
    for name, text in {
        "a.mp4": f"#EXTM3U\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n",
        "b.mp4": f"ffconcat version 1.0\nfile '{target}'\n",
        "c.m3u8": f"#EXTM3U\n#EXTINF:2,\nfile:{target}\n#EXT-X-ENDLIST\n",
    }.items():
        (tmp_path / name).write_text(text)
        with pytest.raises(MienError, match="no media format that mien supports"):
            probed(tmp_path / name)
    assert target.stat().st_atime == 1_000_000_000


def test_path_that_looks_like_a_url_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("http:x.mp4", "-i.mp4", "concat:a|b", "pipe:0"):
        write_noise(tmp_path / name)
        assert probed(name).video is not None


@pytest.mark.parametrize("name", ["x" * 300, "a\0b", "no/such/x.mp4", ""])
def test_invalid_paths_are_missing_files(name: str) -> None:
    with pytest.raises(MissingFileError):
        probed(name)


def test_os_errors_map_to_error_classes() -> None:
    """Called directly, because root can read everything and no disk is broken here."""
    assert isinstance(_os_error("x", PermissionError(errno.EACCES, "denied")), AccessDeniedError)
    assert isinstance(_os_error("x", OSError(errno.EIO, "broken")), StorageError)


def test_ffmpeg_on_path_is_preferred(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    find_ffmpeg.cache_clear()
    assert Path(find_ffmpeg()).is_file()
    find_ffmpeg.cache_clear()
    mine = tmp_path / "ffmpeg"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_ffmpeg() == str(mine)
    find_ffmpeg.cache_clear()


def test_missing_ffmpeg_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import imageio_ffmpeg

    def none() -> str:
        raise RuntimeError("No ffmpeg exe could be found.")

    find_ffmpeg.cache_clear()
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(imageio_ffmpeg, "get_ffmpeg_exe", none)
    with pytest.raises(MissingProgramError, match="pip install imageio-ffmpeg"):
        find_ffmpeg()
    find_ffmpeg.cache_clear()
