"""Decodes the sound of a file into one stream of 16 kHz mono, on the file's clock.

Sample n is at n / SOUND_HZ seconds. Timestamps determine the position of sound, but they are not exact:
Matroska rounds them to 1 ms, and recorders write them with jitter. Decoded frames are therefore placed end to
end until the timestamps deviate permanently.
"""

from __future__ import annotations

import statistics
from collections import deque
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from mien.ingest.errors import CorruptMediaError, NoAudioStreamError, TruncatedMediaError, one_line
from mien.ingest.media import MediaFile
from mien.ingest.probe.open_media import open_media, shown
from mien.ingest.probe.packets import seconds_of
from mien.pipelines.data import SOUND_HZ, Int16

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.resampler import AudioResampler
    from av.audio.stream import AudioStream

_TOLERANCE_SECONDS = 0.004
_LOOK_AHEAD_FRAMES = 8
_EARLY_END_SECONDS = 0.5
_MPEG = frozenset({"mp1", "mp2", "mp3"})
_HOLE_BYTES = 24
"""The shortest MPEG frame. Decoders silently skip zeros before a header. Fewer zeros may be padding."""


class SoundStream:
    """Decodes the file once while iterating; yields int16 blocks of block_seconds * SOUND_HZ samples.

    The last block is shorter. All blocks together have round(media.duration_seconds * SOUND_HZ) samples:
    silence fills a late start, gaps and the end; overlapping sound and sound before 0 is dropped. Memory is
    bounded by the block. The constructor raises NoAudioStreamError; iterating raises CorruptMediaError and
    TruncatedMediaError.

    Detected damage: packets that libav's decoder rejects, frames that it marks as corrupt, and runs of zeros
    in MPEG sound. Damage inside an MP1, MP2 or MP3 frame with an intact header and side information is not
    detected. Such frames have no checksum (except an optional one over just these parts, ISO/IEC 11172-3), so
    wrong bits become 26 ms of wrong sound. Of 40 MP3 packets with 60 wrong bytes each, libav rejected none.
    Its strictest mode reported 23, only in the log, and also reports intact packets that an encoder has
    padded.
    """

    def __init__(self, media: MediaFile, *, block_seconds: float = 30.0) -> None:
        if media.audio is None:
            raise NoAudioStreamError(f"{shown(media.path)} has no audio stream, so there is no sound to read")
        self._media = media
        self._audio = media.audio
        self._block_samples = max(1, round(block_seconds * SOUND_HZ))

    def __iter__(self) -> Iterator[Int16]:
        timeline = AudioTimeline(
            total_samples=round(self._media.duration_seconds * SOUND_HZ), block_samples=self._block_samples
        )
        for position, samples in self._pieces():
            yield from timeline.put(position, samples)
        yield from timeline.finish()

    def _pieces(self) -> Iterator[tuple[int, Int16]]:
        """Resampled sound, and its start in samples of the file's clock."""
        part: _ContinuousSound | None = None
        expected = -1.0
        queue: deque[tuple[float | None, AudioFrame]] = deque()
        frames = self._frames()
        while True:
            while len(queue) < _LOOK_AHEAD_FRAMES and (ahead := next(frames, None)) is not None:
                queue.append(ahead)
            if not queue:
                break
            deviates = part is None or self._timestamps_deviate(queue, expected)
            seconds, frame = queue.popleft()
            if part is None or deviates or not part.accepts(frame):
                if part is not None:
                    yield from part.flush()
                if deviates:
                    expected = seconds if seconds is not None else self._audio.start_seconds
                part = _ContinuousSound(expected, frame)
            yield from part.push(frame)
            expected += frame.samples / frame.sample_rate
        if part is not None:
            yield from part.flush()
        if expected < self._audio.end_seconds - _EARLY_END_SECONDS:
            raise TruncatedMediaError(
                f"{shown(self._media.path)}: sound ends at {max(0.0, expected):.2f} s, but probing found an "
                f"end at {self._audio.end_seconds:.2f} s; fetch the file again"
            )

    def _timestamps_deviate(self, queue: deque[tuple[float | None, AudioFrame]], expected: float) -> bool:
        """Whether the timestamps deviate permanently: now, and in the median of the following frames."""
        first = queue[0][0]
        if first is None or abs(first - expected) <= _TOLERANCE_SECONDS:
            return False
        errors = []
        for seconds, frame in queue:
            if seconds is not None:
                errors.append(seconds - expected)
            expected += frame.samples / frame.sample_rate
        return abs(statistics.median(errors)) > _TOLERANCE_SECONDS

    def _frames(self) -> Iterator[tuple[float | None, AudioFrame]]:
        """Decoded frames with their time.

        Errors before the first frame are ignored: it may depend on missing sound.
        """
        import av
        from av.stream import Discard

        name = shown(self._media.path)
        with open_media(self._media.path) as container:
            for other in container.streams:
                if other.index != self._audio.index:
                    other.discard = Discard.all
            stream = cast("AudioStream", container.streams[self._audio.index])
            stream.codec_context.options = {"err_detect": "explode"}
            is_mpeg = stream.codec_context.name.removesuffix("float") in _MPEG
            last, started = 0.0, False
            packets = container.demux(stream)
            while True:
                try:
                    packet = next(packets, None)
                    if packet is None:
                        return
                    frames = packet.decode()
                except av.error.EOFError:
                    return
                except (av.FFmpegError, OverflowError) as error:
                    if not started:
                        continue
                    raise CorruptMediaError(
                        f"{name}: sound cannot be decoded after {last:.3f} s "
                        f"({one_line(str(error), 200)}); fetch the file again"
                    ) from error
                if started and is_mpeg and bytes(memoryview(packet)[:_HOLE_BYTES]) == bytes(_HOLE_BYTES):
                    raise CorruptMediaError(
                        f"{name}: sound is overwritten by zeros after {last:.3f} s; fetch the file again"
                    )
                for frame in frames:
                    if frame.is_corrupt and started:
                        raise CorruptMediaError(
                            f"{name}: sound is damaged after {last:.3f} s; fetch the file again"
                        )
                    started = True
                    seconds = None
                    if frame.pts is not None and frame.time_base is not None:
                        seconds = seconds_of(frame.pts, frame.time_base) - self._media.zero_seconds
                        last = seconds
                    yield seconds, frame


class _ContinuousSound:
    """A stretch of sound without gaps, resampled as a whole."""

    def __init__(self, seconds: float, frame: AudioFrame) -> None:
        from av.audio.resampler import AudioResampler

        self._sample_format = _sample_format(frame)
        self._position = round(seconds * SOUND_HZ)
        self._resampler: AudioResampler = AudioResampler(format="s16", layout="mono", rate=SOUND_HZ)

    def accepts(self, frame: AudioFrame) -> bool:
        return self._sample_format == _sample_format(frame)

    def push(self, frame: AudioFrame) -> Iterator[tuple[int, Int16]]:
        yield from self._place(_downmixable(frame))

    def flush(self) -> Iterator[tuple[int, Int16]]:
        yield from self._place(None)

    def _place(self, frame: AudioFrame | None) -> Iterator[tuple[int, Int16]]:
        if frame is not None:
            frame.pts = None
        for piece in self._resampler.resample(frame):
            samples: Int16 = piece.to_ndarray().reshape(-1).astype(np.int16, copy=False)
            yield self._position, samples
            self._position += len(samples)


def _sample_format(frame: AudioFrame) -> tuple[str, str, int]:
    return frame.format.name, frame.layout.name, frame.sample_rate


def _downmixable(frame: AudioFrame) -> AudioFrame:
    """`frame`, or the mean of its channels if the layout does not say which channel is which."""
    if "channels" not in frame.layout.name:
        return frame
    from av.audio.frame import AudioFrame as Mixed

    data: np.ndarray[Any, np.dtype[Any]] = frame.to_ndarray()
    channels = frame.layout.nb_channels
    data = data if data.shape[0] == channels else data.reshape(-1, channels).T
    mixed = data.mean(axis=0, dtype=np.float64)
    if data.dtype == np.uint8:
        mixed -= 128
    if data.dtype.kind in "iu":
        mixed /= np.iinfo(data.dtype).max if data.dtype.kind == "i" else 128
    result = Mixed.from_ndarray(mixed.astype(np.float32)[None], format="fltp", layout="mono")
    result.sample_rate = frame.sample_rate
    return result


class AudioTimeline:
    """Places samples at their positions and yields blocks of equal length.

    Positions without samples are silent. Where samples overlap, those put first are used. Samples before 0 or
    after the end are dropped.
    """

    def __init__(self, *, total_samples: int, block_samples: int) -> None:
        self._total = total_samples
        self._block_samples = block_samples
        self._block = self._silence(0)
        self._block_start = 0
        self._filled = 0

    def put(self, position: int, samples: Int16) -> Iterator[Int16]:
        """Places `samples` (N,) at `position`, and yields the blocks that are complete."""
        samples = samples[max(0, self._filled - position) :]
        position = max(position, self._filled)
        samples = samples[: max(0, self._total - position)]
        while len(samples):
            at = position - self._block_start
            room = len(self._block) - at
            if room <= 0:
                yield self._next_block()
                continue
            taken = min(room, len(samples))
            self._block[at : at + taken] = samples[:taken]
            position += taken
            self._filled = position
            samples = samples[taken:]

    def finish(self) -> Iterator[Int16]:
        """Yields the remaining blocks, with silence up to the end."""
        while len(self._block):
            yield self._next_block()

    def _next_block(self) -> Int16:
        block = self._block
        self._block_start += len(block)
        self._block = self._silence(self._block_start)
        return block

    def _silence(self, start: int) -> Int16:
        return np.zeros(min(self._block_samples, self._total - start), dtype=np.int16)
