"""The films of the chaos tests, and settings that produce many segments and many shards from them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av

from tests.cluster.test_sync_in_shards import face_picture
from tests.demo_media import demo_clip
from tests.sync_films import make_face_film

TALK = (
    "split.target_seconds=4",
    "split.min_seconds=2",
    "split.max_seconds=6",
    "shards.max_bytes=400000",
    "transcribe.beam_size=1",
)
"""All stages; for runs on Ray."""
FACES = (
    "clip.require=face",
    "clip.min_seconds=0.5",
    "split.target_seconds=1.5",
    "split.min_seconds=1",
    "split.max_seconds=2",
    "shards.max_bytes=200000",
    "faces.identity=false",
)
"""Silent faces, which take a second or two in one process."""


def as_options(flags: tuple[str, ...]) -> list[str]:
    return [word for flag in flags for word in ("--set", flag)]


def make_talk(folder: Path) -> Path:
    """A talking film of many segments, two short films, and one without a face."""
    folder.mkdir()
    for name, times, seconds in (("long", 2, 99.0), ("short", 1, 4.0), ("shorter", 1, 3.0)):
        _repeat(demo_clip("talks.mp4"), folder / f"{name}.mp4", times=times, seconds=seconds)
    (folder / "no_face.mp4").write_bytes(demo_clip("no_face.mp4").read_bytes())
    return folder


def make_faces(folder: Path, seconds: tuple[float, ...] = (6.0, 2.4, *[1.2] * 4)) -> Path:
    """Silent films of one face."""
    folder.mkdir()
    face = face_picture()[::2, ::2].copy()
    for number, length in enumerate(seconds):
        make_face_film(folder / f"{number:02d}.mp4", face, None, seconds=length, seed=number)
    return folder


def _repeat(source: Path, target: Path, *, times: int, seconds: float) -> None:
    """Writes the first `seconds` of `source` several times in a row, without re-encoding."""
    with av.open(str(target), "w") as output, av.open(str(source)) as film:
        # Add all streams before the first packet, which writes the header.
        streams = {stream.index: output.add_stream_from_template(stream) for stream in _streams(film)}
        begin = end = 0.0
        for _ in range(times):
            film.seek(0)
            for packet in film.demux(*_streams(film)):
                if packet.pts is None or packet.dts is None or packet.pts * packet.time_base > seconds:
                    continue
                shift = round(begin / packet.time_base)
                packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
                end = max(end, float((packet.pts + packet.duration) * packet.time_base))
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
            begin = end + 0.1  # the sound starts a little before the picture


def _streams(film: Any) -> list[Any]:
    return [film.streams.video[0], film.streams.audio[0]]
