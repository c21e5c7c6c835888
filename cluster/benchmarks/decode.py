"""CPU seconds per video second of several ways to decode.

python -m mien.cluster.benchmarks.decode FILE…
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ffmpeg

from mien.ingest.ffmpeg import find_ffmpeg
from mien.ingest.media import Job, MediaFile, VideoRef
from mien.ingest.probe import probe
from mien.ingest.probe.open_media import open_media
from mien.pipelines.decode.frames import FrameReader
from mien.pipelines.decode.sound import SoundStream


def _reader(threads: int) -> Callable[[MediaFile], int]:
    return lambda media: sum(
        1 for _ in FrameReader(media, threads=threads).frames(0, media.duration_seconds + 1)
    )


def _skipping(**settings: Any) -> Callable[[MediaFile], int]:
    def count(media: MediaFile) -> int:
        assert media.video is not None
        with open_media(media.path) as container:
            stream: Any = container.streams[media.video.index]
            stream.codec_context.thread_count = 1
            for name, value in settings.items():
                setattr(stream.codec_context, name, value)
            return sum(1 for _ in container.decode(stream))

    return count


def _pipe(*, threads: int) -> Callable[[MediaFile], int]:
    def count(media: MediaFile) -> int:
        assert media.video is not None
        command = ffmpeg.input(str(Path(media.path).absolute()), threads=threads).output(
            "pipe:", format="rawvideo", pix_fmt="yuv420p", fps_mode="passthrough", map="0:v:0"
        )
        process = command.run_async(cmd=find_ffmpeg(), pipe_stdout=True, quiet=True)
        size = media.video.width_pixels * media.video.height_pixels * 3 // 2
        frames = 0
        while len(process.stdout.read(size)) == size:
            frames += 1
        process.stderr.close()
        process.wait()
        return frames

    return count


def _sound(media: MediaFile) -> int:
    return sum(len(block) for block in SoundStream(media)) if media.audio else 0


DECODERS: dict[str, Callable[[MediaFile], int]] = {
    "probe": lambda media: len(_probe(media.path).path),
    "FrameReader threads=1": _reader(1),
    "FrameReader threads=2": _reader(2),
    "FrameReader threads=auto": _reader(0),
    "PyAV skip_frame=NONREF": _skipping(skip_frame="NONREF"),
    "PyAV skip_frame=NONKEY": _skipping(skip_frame="NONKEY"),
    "ffmpeg pipe threads=1": _pipe(threads=1),
    "ffmpeg pipe threads=auto": _pipe(threads=0),
    "SoundStream": _sound,
}


def _probe(path: str) -> MediaFile:
    job = Job(video=VideoRef(source="bench", id="x", uri=path))
    return probe(path, job=job, sha256="", bytes=Path(path).stat().st_size)


def _cpu_seconds() -> float:
    return sum(os.times()[:4])


def main() -> None:
    for path in sys.argv[1:]:
        media = _probe(path)
        print(f"{path}  {media.duration_seconds:.2f} s  {media.video and media.video.codec}")
        for name, decode in DECODERS.items():
            before = _cpu_seconds()
            count = decode(media)
            print(f"  {name:26s} {(_cpu_seconds() - before) / media.duration_seconds:8.4f}  ({count})")


if __name__ == "__main__":
    main()
