"""Makes films with known ground truth: flashes and beeps at given times, in any container.

The time of every packet is set here, on one clock in seconds. The ground truth is therefore exact even with a
variable frame rate, late streams and B-frames.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Sound = npt.NDArray[np.int16]

BEEP_HZ = 1000.0
BEEP_SECONDS = 0.08
FLASH_FRAMES = 3
_CLOCK = 90_000
_FPS = 25


@dataclass(frozen=True, slots=True)
class _Format:
    format: str
    video: str
    audio: str
    sound_hz: int
    pixels: str = "yuv420p"
    shows_priming: bool = False
    """Whether the encoder's priming silence is played, because the container cannot mark it as skipped."""


CONTAINERS: dict[str, _Format] = {
    "mp4": _Format("mp4", "libx264", "aac", 44_100),
    "mov": _Format("mov", "libx264", "aac", 44_100),
    "mkv": _Format("matroska", "libx264", "aac", 44_100),
    "webm": _Format("webm", "libvpx", "libopus", 48_000),
    "ts": _Format("mpegts", "libx264", "aac", 48_000, shows_priming=True),
    "mpg": _Format("mpeg", "mpeg2video", "mp2", 44_100, shows_priming=True),
    "avi": _Format("avi", "mpeg4", "pcm_s16le", 44_100),
}


@dataclass(frozen=True, slots=True)
class Truth:
    """All times are on the file's clock. It is 0 at the first frame or sample that is presented."""

    flash_seconds: tuple[float, ...]
    """When the first frame of each flash is presented."""
    beep_seconds: tuple[float, ...]
    """When the first sample of each beep is presented."""
    frame_seconds: tuple[float, ...]
    """When each frame is presented."""
    sound_start_seconds: float


def make_sync_film(
    path: Path | str,
    *,
    container: str,
    vfr: bool = False,
    video_offset: float = 0.0,
    audio_offset: float = 0.0,
    bframes: bool = False,
    seconds: float = 8.0,
    width: int = 160,
    height: int = 120,
    seed: int = 7,
) -> Truth:
    """Writes a grey picture with flashes and silence with beeps. `container` is a key of CONTAINERS.

    AVI has no timestamps, so offsets, a variable frame rate and B-frames raise ValueError.
    """
    grey: Picture = np.full((height, width, 3), 60, np.uint8)
    grey += np.linspace(0, 30, width, dtype=np.uint8)[None, :, None]
    return make_face_film(
        path,
        grey,
        None,
        container=container,
        vfr=vfr,
        video_offset=video_offset,
        audio_offset=audio_offset,
        bframes=bframes,
        seconds=seconds,
        seed=seed,
    )


def make_face_film(
    path: Path | str,
    face_image: Picture,
    speech: Sound | None,
    *,
    container: str = "mp4",
    vfr: bool = False,
    video_offset: float = 0.0,
    audio_offset: float = 0.0,
    bframes: bool = False,
    seconds: float | None = None,
    seed: int = 7,
) -> Truth:
    """Writes a still face with speech, flashes and beeps.

    `face_image` (H, W, 3) RGB is shown all the time, with white flashes of FLASH_FRAMES frames. `speech` (N,)
    int16 at 16 kHz starts at `audio_offset`; beeps of BEEP_HZ are mixed in. `seconds` defaults to the length
    of the speech, or 8.
    """
    codecs = CONTAINERS[container]
    if container == "avi" and (vfr or video_offset or audio_offset or bframes):
        raise ValueError("AVI has no timestamps; make it without vfr, offsets and B-frames")
    if seconds is None:
        seconds = 8.0 if speech is None else len(speech) / 16_000
    rng = np.random.default_rng(seed)
    times = video_offset + _frame_times(seconds, vfr, rng)
    hz = codecs.sound_hz if speech is None else 16_000
    if speech is not None and container == "webm":
        hz = 16_000  # Opus supports 16 kHz
    sound = np.zeros(round(seconds * hz), np.int16) if speech is None else speech[: round(seconds * hz)]
    sound, beeps = _with_beeps(sound, hz, rng)
    flashes = _flash_frames(times, rng)
    height, width = (side // 2 * 2 for side in face_image.shape[:2])
    plain = np.ascontiguousarray(face_image[:height, :width])
    white: Picture = (plain * 0.35 + 255 * 0.65).astype(np.uint8)
    lit = {frame + extra for frame in flashes for extra in range(FLASH_FRAMES)}
    priming = _write(
        Path(path),
        codecs,
        times=times,
        picture=lambda count: white if count in lit else plain,
        sound=sound,
        hz=hz,
        audio_offset=audio_offset,
        bframes=bframes,
    )
    sound_start = audio_offset - (priming if codecs.shows_priming else 0.0)
    zero = min(float(times[0]), sound_start)
    return Truth(
        flash_seconds=tuple(float(times[frame]) - zero for frame in flashes),
        beep_seconds=tuple(audio_offset + beep - zero for beep in beeps),
        frame_seconds=tuple(float(time) - zero for time in times),
        sound_start_seconds=sound_start - zero,
    )


def _frame_times(seconds: float, vfr: bool, rng: np.random.Generator) -> npt.NDArray[np.float64]:
    count = round(seconds * _FPS)
    steps = rng.uniform(0.015, 0.065, count - 1) if vfr else np.full(count - 1, 1 / _FPS)
    times = np.concatenate([[0.0], np.cumsum(steps)])
    return np.round(times * _CLOCK) / _CLOCK


def _irregular(last: float, rng: np.random.Generator) -> Iterator[float]:
    at = 0.4 + rng.uniform(0, 0.3)
    while at < last - 0.4:
        yield at
        at += rng.uniform(0.6, 1.4)


def _flash_frames(times: npt.NDArray[np.float64], rng: np.random.Generator) -> list[int]:
    return [int(np.searchsorted(times, times[0] + at)) for at in _irregular(float(times[-1] - times[0]), rng)]


def _with_beeps(sound: Sound, hz: int, rng: np.random.Generator) -> tuple[Sound, list[float]]:
    mixed = sound.astype(np.float64)
    tone = 24_000 * np.sin(2 * np.pi * BEEP_HZ * np.arange(round(BEEP_SECONDS * hz)) / hz)
    starts = [round(at * hz) for at in _irregular(len(sound) / hz, rng)]
    for start in starts:
        mixed[start : start + len(tone)] *= 0.2
        mixed[start : start + len(tone)] += tone
    return np.clip(mixed, -32_768, 32_767).astype(np.int16), [start / hz for start in starts]


def _write(
    path: Path,
    codecs: _Format,
    *,
    times: npt.NDArray[np.float64],
    picture: Callable[[int], Picture],
    sound: Sound,
    hz: int,
    audio_offset: float,
    bframes: bool,
) -> float:
    """Writes the film. Returns the length of the priming silence that the audio encoder adds, in seconds."""
    height, width = picture(0).shape[:2]
    with av.open(str(path), "w", format=codecs.format) as output:
        video: Any = output.add_stream(codecs.video, rate=_FPS)
        video.width, video.height, video.pix_fmt = width, height, codecs.pixels
        video.codec_context.time_base = Fraction(1, _FPS)
        video.codec_context.gop_size = 50
        video.codec_context.thread_count = 1  # libvpx busy-waits for its threads
        if codecs.video != "libvpx":
            video.codec_context.max_b_frames = 2 if bframes else 0
        video.options = {"preset": "veryfast", "deadline": "realtime", "cpu-used": "8", "sc_threshold": "0"}
        if codecs.video not in ("libx264", "libvpx"):
            video.options = {"qscale": "4", "sc_threshold": "1000000000"}
        video.bit_rate = 1_500_000
        audio: Any = output.add_stream(codecs.audio, rate=hz)
        audio.layout = "mono"
        audio.bit_rate = 96_000
        packets = [*_video_packets(video, times, picture)]
        sounds = [*_audio_packets(audio, sound, hz, audio_offset)]
        priming = max(0.0, audio_offset - float(sounds[0].pts * sounds[0].time_base)) if sounds else 0.0
        if codecs.format == "mpeg":
            packets = [_padded(packet) for packet in packets]
        for packet in sorted(packets + sounds, key=lambda one: one.dts * one.time_base):
            output.mux(packet)
    return priming


def _padded(packet: Any) -> Any:
    """Pads a frame so that it gets a timestamp of its own.

    A program stream has one timestamp per 2 kB packet, for the first frame that starts in it. MPEG-2 allows
    zero bytes before a start code (ISO/IEC 13818-2, next_start_code).
    """
    padded: Any = av.Packet(bytes(packet) + bytes(max(0, 2_400 - packet.size)))
    padded.stream, padded.time_base = packet.stream, packet.time_base
    padded.pts, padded.dts, padded.duration = packet.pts, packet.dts, packet.duration
    padded.is_keyframe = packet.is_keyframe
    return padded


def _video_packets(
    stream: Any, times: npt.NDArray[np.float64], picture: Callable[[int], Picture]
) -> Iterator[Any]:
    """Encodes on a clock that counts frames, and then sets the real times."""

    def ticks(count: int) -> int:
        if count < 0:  # with B-frames, decoding starts before presentation
            return round(float(times[0] + count / _FPS) * _CLOCK)
        return round(float(times[min(count, len(times) - 1)]) * _CLOCK)

    def timed(packets: list[Any]) -> Iterator[Any]:
        for packet in packets:
            packet.pts, packet.dts = ticks(packet.pts), ticks(packet.dts)
            packet.duration = round(_CLOCK / _FPS)
            packet.time_base = Fraction(1, _CLOCK)
            yield packet

    for count in range(len(times)):
        frame = av.VideoFrame.from_ndarray(picture(count), format="rgb24").reformat(format=stream.pix_fmt)
        frame.pts, frame.time_base = count, Fraction(1, _FPS)
        yield from timed(stream.encode(frame))
    yield from timed(stream.encode(None))


def _audio_packets(stream: Any, sound: Sound, hz: int, offset: float) -> Iterator[Any]:
    shift = round(offset * hz)
    converter = av.AudioResampler(format=stream.format.name, layout="mono", rate=hz)
    step = 4096
    for start in range(0, len(sound), step):
        frame = av.AudioFrame.from_ndarray(sound[None, start : start + step], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = hz, start + shift, Fraction(1, hz)
        for piece in converter.resample(frame):
            yield from stream.encode(piece)
    yield from stream.encode(None)
