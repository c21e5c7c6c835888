"""Selects the video and audio stream of a file, and describes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mien.ingest.errors import CorruptMediaError, UnsupportedMediaError, one_line
from mien.ingest.media import StreamInfo
from mien.ingest.probe.open_media import open_media, shown
from mien.ingest.probe.packets import Walked, seconds_of

if TYPE_CHECKING:
    from av.codec.context import CodecContext
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame

# An open GOP, or a recording that starts in the middle of a stream, has no picture at first.
_PACKETS_UNTIL_A_PICTURE = 600


def is_cover(stream: Stream) -> bool:
    """Whether the stream is cover art or thumbnails, which are stored as video streams."""
    from av.stream import Disposition

    return bool(stream.disposition & (Disposition.attached_pic | Disposition.timed_thumbnails))


def choose(container: InputContainer, walked: dict[int, Walked]) -> tuple[Stream | None, Stream | None]:
    """The video and audio stream. Among streams with packets, prefers in this order: decodable, marked as
    default, most pixels or channels, first."""
    from av.audio.codeccontext import AudioCodecContext
    from av.stream import Disposition
    from av.video.codeccontext import VideoCodecContext

    def rank(stream: Stream) -> tuple[bool, bool, int]:
        context: CodecContext | None = stream.codec_context
        size = 0
        if isinstance(context, VideoCodecContext):
            size = context.width * context.height
        elif isinstance(context, AudioCodecContext):
            size = context.layout.nb_channels
        return context is not None, bool(stream.disposition & Disposition.default), size

    filled = [stream for stream in container.streams if walked[stream.index].packets]
    videos = [stream for stream in filled if stream.type == "video" and not is_cover(stream)]
    audios = [stream for stream in filled if stream.type == "audio"]
    return max(videos, key=rank, default=None), max(audios, key=rank, default=None)


def declared_seconds(stream: Stream) -> float | None:
    if stream.duration is None or stream.time_base is None:
        return None
    return seconds_of(stream.duration, stream.time_base)


def video_info(path: str, stream: Stream, facts: Walked, zero: float) -> StreamInfo:
    """Raises UnsupportedMediaError without a decoder, CorruptMediaError if no picture can be decoded."""
    picture = first_picture(path, stream)
    rate = getattr(stream, "average_rate", None)
    return StreamInfo(
        index=stream.index,
        kind="video",
        codec=_codec(path, stream),
        declared_seconds=declared_seconds(stream),
        packets=facts.packets,
        start_seconds=facts.start - zero,
        end_seconds=facts.end - zero,
        width_pixels=picture.width,
        height_pixels=picture.height,
        # libav's angle is counterclockwise
        rotation_degrees=round(-picture.rotation / 90) * 90 % 360,
        declared_fps=float(rate) if rate else None,
        mean_fps=facts.mean_rate,
        variable_frame_rate=facts.variable,
        max_gap_seconds=facts.longest_interval,
    )


def audio_info(path: str, stream: Stream, facts: Walked, zero: float) -> StreamInfo:
    """Raises UnsupportedMediaError without a decoder."""
    codec = _codec(path, stream)
    start = facts.start
    if stream.start_time is not None and stream.time_base is not None:
        # libav's start excludes the encoder's priming samples, which the decoder drops
        declared = seconds_of(stream.start_time, stream.time_base)
        start = declared if 0 < declared - start < 0.2 else start
    return StreamInfo(
        index=stream.index,
        kind="audio",
        codec=codec,
        declared_seconds=declared_seconds(stream),
        packets=facts.packets,
        start_seconds=start - zero,
        end_seconds=facts.end - zero,
        max_gap_seconds=facts.longest_silence,
        sample_rate_hz=stream.codec_context.sample_rate,  # type: ignore[attr-defined]
        channels=stream.codec_context.layout.nb_channels,  # type: ignore[attr-defined]
    )


def _codec(path: str, stream: Stream) -> str:
    if stream.codec_context is None:
        raise UnsupportedMediaError(
            f"{shown(path)}: there is no decoder for the {stream.type} (stream {stream.index}); "
            "convert it, e.g. to mp4 with H.264 and AAC"
        )
    return stream.codec_context.name


def first_picture(path: str, stream: Stream) -> VideoFrame:
    """The first picture that can be decoded. In PyAV, only a picture has the display matrix."""
    import av

    _codec(path, stream)
    problem = "no packet contains a picture"
    with open_media(path) as container:
        chosen = container.streams[stream.index]
        for count, packet in enumerate(container.demux(chosen)):
            if count > _PACKETS_UNTIL_A_PICTURE:
                break
            try:
                for frame in packet.decode():
                    return frame  # type: ignore[return-value]
            except av.error.EOFError:
                break
            except av.FFmpegError as error:
                problem = str(error)
    raise CorruptMediaError(
        f"{shown(path)}: no picture can be decoded ({one_line(problem, 200)}); download it again"
    )
