"""The formats in which a video is offered: one with everything, and picture and sound apart."""

from __future__ import annotations

import io
from dataclasses import dataclass
from functools import cache
from pathlib import Path

_CODECS = {
    "h264": "avc1.64001E",
    "aac": "mp4a.40.2",
    "vp9": "vp09.00.30.08",
    "opus": "opus",
    "mp3float": "mp4a.6B",
    "mp3": "mp4a.6B",
}
PROGRESSIVE_ITAG, PICTURE_ITAG, SOUND_ITAG = 18, 134, 140


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    itag: int
    mime: str
    codecs: str
    data: bytes
    width_pixels: int = 0
    height_pixels: int = 0
    audio: bool = False

    @property
    def progressive(self) -> bool:
        return self.audio and self.height_pixels > 0

    @property
    def bytes(self) -> int:
        return len(self.data)


@cache
def streams_of(media: Path) -> list[Stream]:
    """The progressive format is the file itself; the adaptive ones are its packets, not encoded again."""
    import av

    streams = []
    with av.open(str(media)) as source:
        picture = source.streams.video[0] if source.streams.video else None
        sound = source.streams.audio[0] if source.streams.audio else None
        codecs = {
            stream.type: _CODECS.get(stream.codec_context.name, stream.codec_context.name)
            for stream in (picture, sound)
            if stream is not None
        }
        size = (picture.width, picture.height) if picture is not None else (0, 0)
    streams.append(
        Stream(
            itag=PROGRESSIVE_ITAG,
            mime="video/mp4",
            codecs=", ".join(codecs.values()),
            data=media.read_bytes(),
            width_pixels=size[0],
            height_pixels=size[1],
            audio=sound is not None,
        )
    )
    if picture is None or sound is None:
        return streams
    return [
        *streams,
        Stream(
            itag=PICTURE_ITAG,
            mime="video/mp4",
            codecs=codecs["video"],
            data=_alone(media, "video"),
            width_pixels=size[0],
            height_pixels=size[1],
        ),
        Stream(
            itag=SOUND_ITAG,
            mime="audio/mp4",
            codecs=codecs["audio"],
            data=_alone(media, "audio"),
            audio=True,
        ),
    ]


def _alone(media: Path, kind: str) -> bytes:
    """The first stream of one kind in an mp4 of its own."""
    import av

    remuxed = io.BytesIO()
    with av.open(str(media)) as source, av.open(remuxed, "w", format="mp4") as target:
        stream_of_kind = next(stream for stream in source.streams if stream.type == kind)
        copy = target.add_stream_from_template(stream_of_kind)
        for packet in source.demux(stream_of_kind):
            if packet.dts is not None:
                packet.stream = copy
                target.mux(packet)
    return remuxed.getvalue()
