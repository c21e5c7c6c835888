"""Makes the input films from real clips."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import ffmpeg

from mien.ingest.ffmpeg import find_ffmpeg
from mien.ingest.naming import MEDIA_EXTENSIONS
from mien.pipelines.weights import DEMO_CLIPS, pull

SHARED_MEDIA = Path(__file__).resolve().parents[2].parent / "shared" / "media"
WIDTH, HEIGHT, FPS = 640, 360, 25

# All English, because one video is in one language. Most show one talking face; some two, none, or silence.
SHARED_CLIPS = (
    "speaker_24fps.mp4",
    "mp3_audio_two_faces.mp4",
    "grid_bbaf2n.mpg",
    "grid_lbax4n.mpg",
    "interview_512.mp4",
    "speech_offscreen_no_face.mp4",
    "weekly_address_32fps.mp4",
    "no_face_silent.mp4",
    "speech_22fps.mp4",
    "stage_six_faces.mp4",
    "grid_swiz3n.mpg",
)
DEMO_NAMES = ("talks.mp4", "silent.mp4", "talks.mp4", "no_face.mp4")


@dataclass(frozen=True, slots=True)
class Film:
    path: Path
    seconds: float
    made_of: str


def sources(media: Path | None) -> list[Path]:
    """The clips to join: from `media` if given, else from the shared folder, else the three demo clips."""
    if media is None and not SHARED_MEDIA.is_dir():
        return [pull(DEMO_CLIPS.name) / name for name in DEMO_NAMES]
    folder = media or SHARED_MEDIA
    found = [folder / name for name in SHARED_CLIPS if (folder / name).is_file()]
    found = found or sorted(path for path in folder.iterdir() if path.suffix in MEDIA_EXTENSIONS)
    found = [path for path in found if _has_video_and_audio(path)]
    if not found:
        raise SystemExit(f"{folder} has no clip with video and audio; choose another folder with --media")
    return found


def talk_film(folder: Path, seconds: float, *, media: Path | None) -> Film:
    """Joins the clips, encodes them once (H.264 360p 25 fps, AAC 48 kHz), and loops them to `seconds`."""
    clips = sources(media)
    loop = folder / "loop.mp4"
    if not loop.exists():
        _join(loop, clips)
    path = folder / f"talk-{seconds:.0f}s.mp4"
    _loop(loop, path, seconds)
    return Film(path, seconds, ", ".join(clip.name for clip in clips))


def short_clips(folder: Path, count: int, *, media: Path | None, talk_every: int = 50) -> tuple[Path, str]:
    """Makes `count` files of 2 s. Every `talk_every`-th has a talking face, the others are silent."""
    clips = sources(media)
    into = folder / "many"
    into.mkdir()
    talk, silent = folder / "short-talk.mp4", folder / "short-silent.mp4"
    for path, sound in ((talk, {}), (silent, {"af": "volume=0"})):
        stream = ffmpeg.input(str(clips[0]), t=2)
        _run(ffmpeg.output(stream, str(path), vcodec="libx264", preset="veryfast", acodec="aac", **sound))
    for number in range(count):
        # Hard links instead of copies: there are only two different contents.
        os.link(talk if number % talk_every == 0 else silent, into / f"clip-{number:05d}.mp4")
    return into, f"{count} files of 2 s, one in {talk_every} with speech"


def _join(path: Path, clips: list[Path]) -> Path:
    parts = []
    for number, clip in enumerate(clips):
        # A clip that is used twice must be two nodes of the graph. Different options make them distinct.
        stream = ffmpeg.input(str(clip), thread_queue_size=64 + number)
        scaled = stream["v"].filter("scale", WIDTH, HEIGHT, force_original_aspect_ratio="decrease")
        framed = scaled.filter("pad", WIDTH, HEIGHT, "(ow-iw)/2", "(oh-ih)/2").filter("setsar", 1)
        parts += [
            framed.filter("fps", FPS).filter("format", "yuv420p"),
            stream["a"].filter("aresample", 48000).filter("aformat", channel_layouts="stereo").filter("apad"),
        ]
        # Cut or pad the sound to the length of the video, so that both stay in sync across joins.
        seconds = _seconds(clip)
        parts[-2] = parts[-2].filter("trim", duration=seconds)
        parts[-1] = parts[-1].filter("atrim", duration=seconds)
    joined = ffmpeg.concat(*parts, v=1, a=1).node
    _run(
        ffmpeg.output(
            joined[0], joined[1], str(path), vcodec="libx264", preset="veryfast", crf=21, acodec="aac",
            audio_bitrate="128k",
        )
    )  # fmt: skip
    return path


def _has_video_and_audio(path: Path) -> bool:
    import av

    with av.open(str(path)) as container:
        return bool(container.streams.video and container.streams.audio)


def _seconds(path: Path) -> float:
    import av

    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        if stream.duration and stream.time_base:
            return float(stream.duration * stream.time_base)
        return float(container.duration or 0) / 1e6


def _loop(loop: Path, path: Path, seconds: float) -> None:
    _run(ffmpeg.input(str(loop), stream_loop=-1).output(str(path), c="copy", t=seconds))


def _run(stream: object) -> None:
    ffmpeg.run(stream, cmd=find_ffmpeg(), quiet=True, overwrite_output=True)
