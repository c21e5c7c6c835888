"""Makes files that break video ingestion, each with its required outcome.

RECIPES is the registry: a name, the file name, the outcome ("ok" or the name of an error class), and a
function that makes the file. If this machine's libav cannot make a file, the reason is recorded.
"""

from __future__ import annotations

import os
import random
import wave
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import av
import numpy as np

from tests.noise_films import write_noise
from tests.sync_films import make_sync_film

Make = Callable[[Path], object]


@dataclass(frozen=True, slots=True)
class Hostile:
    name: str
    path: Path
    outcome: str
    """"ok", or the name of the error class that probing or decoding the whole file must raise."""
    skip: str = ""
    """Why the file could not be made on this machine, or ""."""


def make_hostile(folder: Path, talking: Path | None = None) -> list[Hostile]:
    """Makes every file of RECIPES in `folder`. `talking` is an mp4 that is also truncated."""
    return [make_one(recipe, folder) for recipe in (*RECIPES, *(talking_cut(talking) if talking else ()))]


def make_one(recipe: Recipe, folder: Path) -> Hostile:
    folder.mkdir(parents=True, exist_ok=True)
    path, skip = folder / recipe.file, ""
    try:
        recipe.make(path)
    except (av.FFmpegError, ValueError, OSError) as error:
        skip = f"cannot be made on this machine: {error}"
    return Hostile(recipe.name, path, recipe.outcome, skip)


def talking_cut(talking: Path) -> list[Recipe]:
    """The mp4 truncated at several places."""
    cuts = {share: _bytes(_cut(talking.read_bytes(), share)) for share in (10, 50, 95)}
    return [Recipe(f"talking cut at {n} %", f"talking_{n}.mp4", TRUNCATED, make) for n, make in cuts.items()]


@dataclass(frozen=True, slots=True)
class Recipe:
    name: str
    file: str
    outcome: str
    make: Make


OK, TRUNCATED, CORRUPT, NOT_MEDIA = "ok", "TruncatedMediaError", "CorruptMediaError", "NotMediaError"
STILL, MISSING, NOT_A_FILE = "StillImageError", "MissingFileError", "NotAFileError"
FRONT = {"movflags": "faststart"}
FRAGMENTS = {"movflags": "frag_keyframe+empty_moov"}


def _cut(data: bytes, percent: float) -> bytes:
    return data[: int(len(data) * percent / 100)]


def _bytes(data: bytes) -> Make:
    return lambda path: path.write_bytes(data)


def _film_bytes(path: Path, **how: Any) -> bytes:
    write_noise(path, **how)
    data = path.read_bytes()
    path.unlink()
    return data


def _film(**how: Any) -> Make:
    return partial(write_noise, **how)


def _truncated(percent: float, **how: Any) -> Make:
    return lambda path: path.write_bytes(_cut(_film_bytes(path, **how), percent))


def _damaged(stream: str, **how: Any) -> Make:
    """Overwrites packets in the middle of one stream, but not the container's structure."""

    def make(path: Path) -> None:
        write_noise(path, **how)
        data = bytearray(path.read_bytes())
        rng = random.Random(5)
        with av.open(str(path)) as container:
            packets = [packet for packet in container.demux(**{stream: 0}) if packet.size]
            for packet in packets[len(packets) // 3 : 2 * len(packets) // 3]:
                assert packet.pos is not None
                inside = range(packet.pos + 8, packet.pos + packet.size)
                for at in rng.sample(inside, len(inside) // 2):
                    if how.get("format") == "mpegts" and at % 188 < 24:
                        continue  # the header of the transport stream packet
                    data[at] ^= rng.randrange(1, 256)
        path.write_bytes(data)

    return make


def _replaced(old: bytes, new: bytes, **how: Any) -> Make:
    return lambda path: path.write_bytes(_film_bytes(path, **how).replace(old, new))


def _scrambled_header(path: Path) -> None:
    data = bytearray(_film_bytes(path, options=FRONT))
    start = data.index(b"moov") + 4
    data[start : start + 400] = random.Random(6).randbytes(400)
    path.write_bytes(data)


def _mid_stream_ts(path: Path) -> None:
    data = _film_bytes(path, format="mpegts")
    path.write_bytes(data[len(data) // 188 // 3 * 188 :])


def _glued_ts(path: Path) -> None:
    data = _film_bytes(path, format="mpegts", frames=100, seconds=4.0)
    path.write_bytes(data + data)


def _playlist(text: str) -> Make:
    def make(path: Path) -> None:
        target = path.parent / "playlist_target.mp4"
        write_noise(target)
        path.write_text(text.format(target=target, name=target.name))

    return make


def _zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("video.mp4", bytes(50_000))


def _eight_unnamed_channels(path: Path) -> None:
    with wave.open(str(path), "wb") as sound:
        sound.setnchannels(8)
        sound.setsampwidth(2)
        sound.setframerate(22_050)
        sound.writeframes(np.random.default_rng(1).integers(-9000, 9000, 8 * 22_050, np.int16).tobytes())


def _picture(codec: str, pixels: str) -> Make:
    def make(path: Path) -> None:
        context: Any = av.CodecContext.create(codec, "w")
        context.width, context.height, context.pix_fmt, context.time_base = 64, 48, pixels, Fraction(1, 25)
        frame = av.VideoFrame(64, 48, pixels)
        frame.pts = 0
        path.write_bytes(
            b"".join(bytes(packet) for packet in [*context.encode(frame), *context.encode(None)])
        )

    return make


def _locked(path: Path) -> None:
    write_noise(path)
    path.chmod(0)


def _link(target: str) -> Make:
    def make(path: Path) -> None:
        path.unlink(missing_ok=True)
        path.symlink_to(target)

    return make


def _fresh(make: Callable[[Path], None]) -> Make:
    return lambda path: None if path.exists() else make(path)


HTML = b"<!DOCTYPE html><html><head><title>429 Too Many Requests</title></head><body>" + b"<p>x</p>" * 900
SUBTITLES = b"1\n00:00:00,000 --> 00:00:02,000\nHello there\n\n2\n00:00:02,000 --> 00:00:04,000\nAgain\n"
SDP = b"v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n"


def _recipes() -> Iterator[Recipe]:
    one = Recipe
    # not media
    yield one("empty", "empty.mp4", "EmptyFileError", _bytes(b""))
    yield one("web page", "page.mp4", NOT_MEDIA, _bytes(HTML))
    yield one("JSON error", "error.mp4", NOT_MEDIA, _bytes(b'{"error": {"code": 403, "message": "no"}}\n'))
    yield one("one byte", "byte.mp4", NOT_MEDIA, _bytes(b"\x00"))
    for seed in range(4):
        noise = random.Random(seed).randbytes(60_000)
        yield one(f"random bytes {seed}", f"random{seed}.mp4", NOT_MEDIA, _bytes(noise))
    yield one("zeros", "zeros.mp4", NOT_MEDIA, _bytes(bytes(100_000)))
    yield one("zip", "zip.mp4", NOT_MEDIA, _zip)
    yield one("subtitles", "subtitles.mp4", NOT_MEDIA, _bytes(SUBTITLES))
    yield one("terminal art", "art.ans", NOT_MEDIA, _bytes(b"\x1b[31mHello\x1b[0m\r\n" * 100))
    m3u8 = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{target}\n#EXT-X-ENDLIST\n"
    yield one("HLS playlist", "hls.mp4", NOT_MEDIA, _playlist(m3u8))
    yield one("HLS playlist by name", "hls.m3u8", NOT_MEDIA, _playlist(m3u8))
    yield one("concat script", "concat.mp4", NOT_MEDIA, _playlist("ffconcat version 1.0\nfile '{name}'\n"))
    yield one("SDP", "sdp.mp4", NOT_MEDIA, _bytes(SDP))
    yield one("image sequence pattern", "frame%03d.png", STILL, _picture("png", "rgb24"))
    # missing, not a file, not readable
    yield one("missing", "missing.mp4", MISSING, lambda path: None)
    yield one("dead link", "dead.mp4", MISSING, _link("nowhere.mp4"))
    yield one("link to itself", "loop.mp4", MISSING, _link("loop.mp4"))
    yield one("directory", "folder.mp4", NOT_A_FILE, lambda path: path.mkdir(exist_ok=True))
    yield one("FIFO", "fifo.mp4", NOT_A_FILE, _fresh(os.mkfifo))
    yield one("device", "device.mp4", NOT_A_FILE, _link("/dev/zero"))
    yield one("no permission", "locked.mp4", OK if os.geteuid() == 0 else "AccessDeniedError", _locked)
    # truncated
    for percent in (0.3, 20, 60, 99):
        yield one(f"mp4 cut at {percent} %", f"cut{percent}.mp4", TRUNCATED, _truncated(percent))
        front = _truncated(percent, options=FRONT)
        yield one(f"mp4, header first, cut at {percent} %", f"front{percent}.mp4", TRUNCATED, front)
    yield one("fragmented mp4 cut", "fragments.mp4", TRUNCATED, _truncated(60, options=FRAGMENTS))
    mpeg = {"video": "mpeg2video", "audio": "mp2"}
    vp8 = {"video": "libvpx", "audio": "libopus"}
    cut_and_whole: dict[str, dict[str, Any]] = {
        "matroska": {}, "webm": vp8, "mpegts": {}, "mpeg": mpeg, "flv": {"hz": 44_100},
        "avi": {"video": "mpeg4", "audio": "mp2"}, "ogg": {"video": None, "audio": "libopus"},
        "wav": {"video": None, "audio": "pcm_s16le"}, "mov": {}, "asf": {"video": "mpeg4", "audio": "mp2"},
        "flac": {"video": None, "audio": "flac", "seconds": 8.0},
        "mp3": {"video": None, "audio": "libmp3lame"},
    }  # fmt: skip
    for format, codecs in cut_and_whole.items():
        long = {"frames": 150, "seconds": 6.0, **codecs}
        yield one(f"{format} cut", f"cut.{format}", TRUNCATED, _truncated(55.5, format=format, **long))
        yield one(f"{format} whole", f"whole.{format}", OK, _film(format=format, **codecs))
    # damaged
    yield one("damaged video", "bad_video.mp4", CORRUPT, _damaged("video"))
    yield one("damaged video, ts", "bad_video.ts", CORRUPT, _damaged("video", format="mpegts"))
    yield one("damaged video, mkv, VP8", "bad_video.webm", CORRUPT, _damaged("video", format="webm", **vp8))
    yield one("damaged sound", "bad_audio.mp4", CORRUPT, _damaged("audio"))
    yield one("damaged sound, MP3", "bad_audio.mov", CORRUPT, _damaged("audio", audio="libmp3lame"))
    yield one("scrambled header", "scrambled.mp4", CORRUPT, _scrambled_header)
    yield one("unknown codec", "codec.mp4", "UnsupportedMediaError", _replaced(b"avc1", b"zzz1", audio=None))
    # still images, empty streams, one stream only
    yield one("png", "png.mp4", STILL, _picture("png", "rgb24"))
    yield one("jpeg", "jpeg.mp4", STILL, _picture("mjpeg", "yuvj420p"))
    gif = {"format": "gif", "video": "gif", "pixels": "rgb8", "audio": None}
    yield one("gif of one picture", "one.gif", STILL, _film(frames=1, **gif))
    yield one("gif", "many.gif", OK, _film(frames=20, **gif))
    yield one("video of one frame", "one_frame.mp4", STILL, _film(frames=1))
    hollow = _film(frames=0, seconds=0, options={"movflags": "empty_moov"})
    yield one("streams without packets", "hollow.mp4", "ZeroDurationError", hollow)
    yield one("no streams", "nothing.mp4", CORRUPT, _film(frames=0, seconds=0))
    yield one("sound only", "sound.mp4", OK, _film(video=None))
    yield one("video only", "silent.mp4", OK, _film(audio=None))
    yield one("cover art", "cover.mp3", OK, _film(format="mp3", video=None, audio="libmp3lame", cover=True))
    yield one("sound declared, but empty", "empty_sound.mp4", OK, _film(seconds=0))
    yield one("sound after 5 s", "late.mp4", OK, _film(frames=200, late=5.0))
    mpg_late = _film(format="mpeg", frames=200, late=5.5, **mpeg)
    yield one("sound after 5 s, no header", "late.mpg", OK, mpg_late)
    # unusual but valid
    yield one("8K", "8k.mp4", OK, _film(size=(7680, 4320), frames=3, black=True, audio=None))
    yield one("1 fps", "slow.mp4", OK, _film(fps=1, frames=8, seconds=8.0))
    yield one("120 fps", "fast.mp4", OK, _film(fps=120, frames=240))
    yield one("10 min of black", "black.mp4", OK, _film(fps=10, frames=6000, black=True, audio=None))
    yield one("8 channels", "eight.mp4", OK, _film(layout="7.1"))
    yield one("8 channels without names", "eight.wav", OK, _eight_unnamed_channels)
    tiny = _film(format="matroska", video="ffv1", size=(2, 1), pixels="yuv444p")
    yield one("2 pixels", "tiny.mkv", OK, tiny)
    yield one("odd size", "odd.webm", OK, _film(format="webm", size=(321, 241), **vp8))
    yield one("turned", "turned.mp4", OK, _film(turned=True))
    yield one("4:4:4", "yuv444.mp4", OK, _film(pixels="yuv444p"))
    yield one("10 bits", "ten.mp4", OK, _film(video="libx265", pixels="yuv420p10le"))
    yield one("AV1", "av1.mkv", OK, _film(format="matroska", video="libsvtav1", frames=10, seconds=0.4))
    unshifted = {"avoid_negative_ts": "disabled"}
    yield one("negative times", "negative.mp4", OK, _film(first=-25, frames=75, options=unshifted))
    negative = _film(format="matroska", first=-25, frames=75, options=unshifted)
    yield one("negative times, mkv", "negative.mkv", OK, negative)
    yield one("begins in the middle", "middle.ts", OK, _mid_stream_ts)
    yield one("two recordings glued together", "glued.ts", "UnsupportedMediaError", _glued_ts)
    yield one("live mkv", "live.mkv", OK, _film(format="matroska", options={"live": "1"}))
    sync = partial(make_sync_film, container="mp4", vfr=True, bframes=True, video_offset=0.4, seconds=4.0)
    yield one("variable frame rate", "vfr.mp4", OK, sync)
    # unusual names
    yield one("wrong ending", "matroska.mp4", OK, _film(format="matroska"))
    for name, file in {
        "spaces": "a b  c .mp4", "newline": "a\nb.mp4", "leading dash": "-i.mp4", "emoji": "😀é.mp4",
        "address": "http:x.mp4", "pipe": "pipe:0", "255 bytes": "é" * 125 + "x.mp4", "pattern": "%d*?.jpg",
        "not UTF-8": os.fsdecode(b"\xff\xfe.mp4"),
    }.items():  # fmt: skip
        yield one(f"name: {name}", file, OK, _film(frames=10, seconds=0.4))


RECIPES: tuple[Recipe, ...] = tuple(_recipes())
