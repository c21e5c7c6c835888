"""Writes a clip as mp4: enlarged faces, sound, and words as a subtitle track."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.cluster.inspection.subtitles import Cue, to_ass
from mien.pipelines.data import UInt8

SIDE_PIXELS = 384
"""The smallest width and height: 3 times the stored size, to make the mouth visible."""
SMALLEST_PIXELS = 16

_AAC_HZ = frozenset((8000, 11025, 12000, 16000, 22050, 24000, 32000, 44100, 48000))
_MILLISECONDS = Fraction(1, 1000)
_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+
[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, Bold, Italic, \
Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, Alignment, MarginL, \
MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,0
[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def write_video(
    path: Path,
    frames: UInt8,
    *,
    frames_hz: float,
    sound: npt.NDArray[np.int16] | None,
    sound_hz: int,
    cues: Sequence[Cue],
) -> None:
    """Writes `frames` (T, side, side, 3) RGB and `sound` (N,) or (N, channels).

    Frame n starts at n / frames_hz seconds.

    Raises OSError if `path` cannot be written.
    """
    import av

    with av.open(str(path), "w", format="mp4", options={"movflags": "faststart"}) as container:
        picture = _picture_stream(container, frames.shape[1], frames_hz)
        voice = (
            None if sound is None or not len(sound) else container.add_stream("aac", rate=_aac_hz(sound_hz))
        )
        if voice is not None and sound is not None:
            voice.layout = "mono" if sound.ndim == 1 or sound.shape[1] == 1 else "stereo"
        lines = container.add_stream("mov_text") if cues else None
        if lines is not None:
            lines.codec_context.subtitle_header = _ASS_HEADER
            lines.codec_context.time_base = lines.time_base = _MILLISECONDS
        # One track after the other: the muxer interleaves them, and a clip is small.
        packets: Iterator[Any] = _lines(lines, cues) if lines is not None else iter(())
        if voice is not None and sound is not None:
            packets = chain(packets, _voice(voice, sound, sound_hz))
        for packet in chain(packets, _picture(picture, frames)):
            container.mux(packet)


def _aac_hz(sound_hz: int) -> int:
    return sound_hz if sound_hz in _AAC_HZ else max(_AAC_HZ)


def _picture_stream(container: Any, side: int, frames_hz: float) -> Any:
    scale = max(1, -(-SIDE_PIXELS // side))
    shown = max(side * scale, SMALLEST_PIXELS)
    stream = container.add_stream("libx264", rate=Fraction(frames_hz).limit_denominator(1000))
    stream.width = stream.height = shown + shown % 2
    stream.pix_fmt = "yuv420p"
    stream.options = {"crf": "16", "preset": "veryfast"}
    return stream


def _picture(stream: Any, frames: UInt8) -> Iterator[Any]:
    import av
    import cv2

    for number, frame in enumerate(frames):
        large = cv2.resize(frame, (stream.width, stream.height), interpolation=cv2.INTER_CUBIC)
        shown = av.VideoFrame.from_ndarray(np.ascontiguousarray(large), format="rgb24")
        shown.pts, shown.time_base = number, 1 / stream.codec_context.framerate
        yield from stream.encode(shown)
    yield from stream.encode(None)


def _voice(stream: Any, sound: npt.NDArray[np.int16], sound_hz: int) -> Iterator[Any]:
    import av

    spread = sound.reshape(len(sound), -1)[:, :2]
    layout = "mono" if spread.shape[1] == 1 else "stereo"
    frame = av.AudioFrame.from_ndarray(
        np.ascontiguousarray(spread.reshape(1, -1)), format="s16", layout=layout
    )
    frame.sample_rate, frame.pts, frame.time_base = sound_hz, 0, Fraction(1, sound_hz)
    yield from stream.encode(frame)
    yield from stream.encode(None)


def _lines(stream: Any, cues: Sequence[Cue]) -> Iterator[Any]:
    from av.subtitles.subtitle import SubtitleSet

    for number, cue in enumerate(cues):
        start, end = round(cue.start * 1000), round(cue.end * 1000)
        subtitles = SubtitleSet.create(to_ass(cue, number), 0, end - start, start * 1000)
        packet = stream.codec_context.encode_subtitle(subtitles)
        packet.stream, packet.time_base = stream, _MILLISECONDS
        packet.pts = packet.dts = start
        packet.duration = end - start
        yield packet
