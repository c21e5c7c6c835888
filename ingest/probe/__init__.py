"""Probes a media file and keeps facts from the header and facts from the content apart.

Headers can be wrong, so `probe` reads all packets without decoding them. This gives the real start and end of
each stream, the real frame rate, and whether the file is complete.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mien.ingest.errors import (
    CorruptMediaError,
    NoVideoStreamError,
    StillImageError,
    TruncatedMediaError,
    UnsupportedMediaError,
    ZeroDurationError,
    one_line,
)
from mien.ingest.media import Job, MediaFile
from mien.ingest.probe.completeness import shortfall
from mien.ingest.probe.open_media import PICTURES, open_media, shown
from mien.ingest.probe.packets import Walked, seconds_of, walk
from mien.ingest.probe.streams import audio_info, choose, declared_seconds, is_cover, video_info

if TYPE_CHECKING:
    from av.container import InputContainer

__all__ = ["open_media", "probe"]

# Formats whose muxer writes the duration. For other formats, libav estimates it from the bit rate.
_DECLARING = ("mov", "matroska", "flv", "asf", "flac", "avi", "nut")
_SLACK_SECONDS, _SLACK_SHARE = 1.0, 0.02
_JUMP_BACK_SECONDS, _JUMP_AHEAD_SECONDS = 1.0, 3600.0


def probe(path: str, *, job: Job, sha256: str, bytes: int) -> MediaFile:
    """Describes the file at `path` by its content; its name does not matter.

    A declared stream without packets counts as missing, and a missing stream is None.
    Raises the MediaError that says why the file is unusable; StorageError if it cannot be read.
    """
    name = shown(path)
    missing = _shortfall(path)
    with open_media(path) as container:
        _refuse_pictures(container, name)
        walked, stopped = walk(container)
        if missing or any(
            facts.last_is_corrupt and "mov" in container.format.name for facts in walked.values()
        ):
            raise TruncatedMediaError(
                f"{name}: {missing or 'the last packet is incomplete'}; download it again"
            )
        if stopped:
            raise CorruptMediaError(
                f"{name}: reading fails in the middle ({one_line(stopped, 200)}); download it again"
            )
        _refuse_mostly_corrupt(walked, name)
        picture, sound = choose(container, walked)
        if picture is None and sound is None:
            _refuse_nothing(container, name)
        for stream in (picture, sound):
            if stream is not None:
                _refuse_jumps(walked[stream.index], name)
        zero = _zero(container, walked)
        _refuse_early_end(container, walked, name)
        video = video_info(path, picture, walked[picture.index], zero) if picture else None
        if video and video.packets == 1:
            raise StillImageError(f"{name} contains only one picture; use a video")
        audio = audio_info(path, sound, walked[sound.index], zero) if sound else None
        duration = max(stream.end_seconds for stream in (video, audio) if stream)
        if duration <= 0:
            raise ZeroDurationError(f"{name}: all frames have the same time; download it again")
        return MediaFile(
            job=job,
            path=path,
            bytes=bytes,
            sha256=sha256,
            container=container.format.name,
            zero_seconds=zero,
            duration_seconds=duration,
            declared_seconds=None if container.duration is None else container.duration / 1e6,
            video=video,
            audio=audio,
            other_streams=len(container.streams) - sum(stream is not None for stream in (video, audio)),
        )


def _shortfall(path: str) -> str | None:
    with open_media(path):  # only for its errors: a FIFO must not be opened below
        pass
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return shortfall(descriptor)
    finally:
        os.close(descriptor)


def _refuse_pictures(container: InputContainer, name: str) -> None:
    kinds = set(container.format.name.split(","))
    if kinds & set(PICTURES.split(",")) - {"gif", "apng"}:
        raise StillImageError(f"{name} is a picture ({container.format.name}); use a video")


def _refuse_mostly_corrupt(walked: dict[int, Walked], name: str) -> None:
    for index, facts in walked.items():
        if facts.corrupt > 0.5 * (facts.packets + facts.discarded):
            raise CorruptMediaError(
                f"{name}: {facts.corrupt} of stream {index}'s packets are damaged; download it again"
            )


def _refuse_jumps(facts: Walked, name: str) -> None:
    """Concatenated recordings have several clocks, so picture and sound cannot be matched."""
    if facts.back_seconds > _JUMP_BACK_SECONDS:
        raise UnsupportedMediaError(
            f"{name}: its clock jumps back by {facts.back_seconds:.1f} s; split or re-encode it"
        )
    if max(facts.longest_interval, facts.longest_silence) > _JUMP_AHEAD_SECONDS:
        raise CorruptMediaError(f"{name}: its clock jumps ahead by more than an hour; download it again")


def _refuse_nothing(container: InputContainer, name: str) -> None:
    kinds = [stream.type for stream in container.streams if not is_cover(stream)]
    if not container.streams:
        raise CorruptMediaError(f"{name}: its header declares no stream; download it again")
    if {"video", "audio"} & set(kinds):
        raise ZeroDurationError(f"{name}: its header declares streams, but they are empty; download it again")
    raise NoVideoStreamError(f"{name} has neither video nor audio (streams: {kinds or 'none'}); use a video")


def _zero(container: InputContainer, walked: dict[int, Walked]) -> float:
    """The exact start of the container. libav rounds it to microseconds, but not the starts of the
    streams."""
    content = min(
        facts.start
        for stream in container.streams
        if stream.type in ("video", "audio") and (facts := walked[stream.index]).packets
    )
    start: int | None = container.start_time  # None if libav does not know it, despite PyAV's types
    if start is None:
        return content
    declared = start / 1e6
    starts = [
        seconds_of(stream.start_time, stream.time_base)
        for stream in container.streams
        if stream.start_time is not None and stream.time_base
    ]
    nearest = min([*starts, content], key=lambda start: abs(start - declared))
    return nearest if abs(nearest - declared) < 1e-5 else declared


def _refuse_early_end(container: InputContainer, walked: dict[int, Walked], name: str) -> None:
    if not any(kind in container.format.name for kind in _DECLARING):
        return
    facts = {stream.index: walked[stream.index] for stream in container.streams if not is_cover(stream)}
    spans = [
        (
            f"stream {stream.index}",
            declared_seconds(stream),
            facts[stream.index].end - facts[stream.index].start,
        )
        for stream in container.streams
        if stream.index in facts and facts[stream.index].packets and stream.type in ("video", "audio")
    ]
    ends = [one.end for one in facts.values() if one.packets]
    starts = [one.start for one in facts.values() if one.packets]
    if container.duration is not None:
        spans.append(("the file", container.duration / 1e6, max(ends) - min(0.0, *starts)))
    for what, declared, real in spans:
        if declared is not None and declared - real > max(_SLACK_SECONDS, _SLACK_SHARE * declared):
            raise TruncatedMediaError(
                f"{name}: {what} declares {declared:.2f} s but has {real:.2f} s; download it again"
            )
