"""Writes small films of noise in any format that libav can write. tests/hostile_files.py uses them."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

_TURN_90 = [0, 65536, 0, -65536, 0, 0, 0, 0, 1 << 30]  # 16.16 fixed point, the last one 2.30
_ATTACHED_PICTURE = 1 << 10


def write_noise(
    path: Path,
    *,
    format: str = "mp4",
    video: str | None = "libx264",
    pixels: str = "yuv420p",
    size: tuple[int, int] = (64, 48),
    fps: int = 25,
    frames: int = 50,
    first: int = 0,
    black: bool = False,
    turned: bool = False,
    cover: bool = False,
    audio: str | None = "aac",
    hz: int = 48_000,
    layout: str = "mono",
    seconds: float = 2.0,
    late: float = 0.0,
    options: dict[str, str] | None = None,
) -> None:
    """`first`: number of the first picture; `late`: start of the sound in seconds; `cover`: add cover art.

    A stream with 0 frames or 0 seconds is declared but empty.
    """
    with av.open(str(path), "w", format=format, options=options or {}) as output:
        sources: list[tuple[Any, Iterator[Any]]] = []
        if cover:
            art: Any = output.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt = 64, 64, "yuvj420p"
            art.disposition = _ATTACHED_PICTURE
            sources.append((art, _pictures("yuvj420p", (64, 64), 1, range(1), black=False)))
        if video:
            picture: Any = output.add_stream(video, rate=fps)
            picture.width, picture.height, picture.pix_fmt = *size, pixels
            picture.codec_context.gop_size = 12
            picture.codec_context.thread_count = 1  # libvpx busy-waits for its threads
            if video.startswith("libx26"):
                picture.options = {"preset": "ultrafast", "x265-params": "log-level=none"}
            elif video == "libvpx":
                picture.options = {"deadline": "realtime", "cpu-used": "8"}
            if turned:
                picture.set_display_matrix(_TURN_90)
            pictures = _pictures(pixels, size, fps, range(first, first + frames), black=black)
            sources.append((picture, pictures if frames else iter(())))
        if audio:
            sound: Any = output.add_stream(audio, rate=hz, layout=layout)
            sources.append((sound, _sounds(sound, hz, layout, seconds, late)))
        output.start_encoding()
        for stream, frames_of_it in sources:
            empty = True
            for frame in frames_of_it:
                empty = False
                output.mux(stream.encode(frame))
            if not empty:
                output.mux(stream.encode(None))


def _pictures(pixels: str, size: tuple[int, int], fps: int, counts: range, *, black: bool) -> Iterator[Any]:
    shape = (size[1], size[0], 3)
    noise = np.zeros(shape, np.uint8)
    if not black:
        noise = np.random.default_rng(3).integers(0, 255, shape, dtype=np.uint8)
    frame = av.VideoFrame.from_ndarray(noise, format="rgb24").reformat(format=pixels)
    for count in counts:
        if not black:
            moved = np.ascontiguousarray(np.roll(noise, 3 * count, axis=1))
            frame = av.VideoFrame.from_ndarray(moved, format="rgb24").reformat(format=pixels)
        frame.pts, frame.time_base = count, Fraction(1, fps)
        yield frame


def _sounds(stream: Any, hz: int, layout: str, seconds: float, late: float) -> Iterator[Any]:
    rng = np.random.default_rng(4)
    channels = av.AudioLayout(layout).nb_channels
    converter = av.AudioResampler(format=stream.format.name, layout=layout, rate=hz)
    for start in range(0, round(seconds * hz), 4096):
        data = rng.integers(-9000, 9000, (1, 4096 * channels), dtype=np.int16)
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = hz, start + round(late * hz), Fraction(1, hz)
        yield from converter.resample(frame)
