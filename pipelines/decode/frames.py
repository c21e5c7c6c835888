"""Decodes the frames of a span, each with its presentation time.

Spans that touch are decoded in one pass. A seek goes to a key frame that is presented at or before the span.
Any partition of a file into spans therefore yields exactly the frames of one pass. Damage affects only the
span that contains it: from the failing packet to the next key frame.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import dropwhile
from typing import TYPE_CHECKING

from mien.ingest.errors import CorruptMediaError, NoVideoStreamError, TruncatedMediaError, one_line
from mien.ingest.media import MediaFile
from mien.ingest.probe.open_media import open_media, shown
from mien.ingest.probe.packets import seconds_of

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# Without an index the next key frame is unknown. Decoding this far costs less than a seek.
_MIN_SEEK_SECONDS = 2.0
_EARLY_END_SECONDS = 1.0
_MAX_UNTIMED_FRAMES = 32


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture as it is stored (not rotated upright)."""

    seconds: float
    """Presentation time on the file's clock."""
    picture: VideoFrame


@dataclass(frozen=True, slots=True)
class _Decoded:
    seconds: float
    picture: VideoFrame
    suspect: bool
    """Damaged, or predicted from damaged frames."""


class _UnverifiedDamageError(Exception):
    """Damage was reported in the first group of pictures after a seek.

    The report may be false: the decoder lacks the preceding frames, and with open groups of pictures that
    alone makes libav report errors (H.264, "mmco: unref short failure").
    """


class FrameReader:
    """Reads the frames of spans of one file. Spans in ascending order are cheapest.

    `threads` is the decoder's number of threads; 0 lets libav choose. A reader reads one span at a time.
    Raises NoVideoStreamError for a file without video.
    """

    def __init__(self, media: MediaFile, *, threads: int = 1) -> None:
        if media.video is None:
            raise NoVideoStreamError(
                f"{shown(media.path)} has no video stream, so there are no frames to read"
            )
        self._media = media
        self._video = media.video
        self._threads = threads
        self._interval = 1.0 / media.video.mean_fps if media.video.mean_fps else 0.04
        self._container: InputContainer | None = None
        # Read once, because the stream creates a new Fraction each time and two are needed for each frame.
        self._time_base = Fraction(1)
        self._decoding: Iterator[_Decoded] = iter(())
        self._pushed_back: _Decoded | None = None
        # All frames later than this are still ahead in this pass.
        self._read_to = math.inf
        self._damaged_seconds: list[float] = []
        self._read_error = ""
        # The first key frame of this pass, and the time until which reported damage is unverified.
        self._first_key_frame_seconds = self._unverified_until = -math.inf

    def frames(self, start: float, end: float) -> Iterator[Frame]:
        """The frames with start <= seconds < end, in order of presentation.

        Raises CorruptMediaError if one of them is damaged or cannot be decoded, and TruncatedMediaError if
        they end before the end that probing found.
        """
        if not start < end:
            return
        if not (self._container is not None and self._read_to < start and not self._should_seek(start)):
            self._start_at(start, before=math.inf)
        yielded = 0
        while True:
            try:
                for frame in self._read_span(start, end, yielded):
                    yield frame
                    yielded += 1
                return
            except _UnverifiedDamageError:
                self._start_at(start, before=self._first_key_frame_seconds)

    def _read_span(self, start: float, end: float, skip: int) -> Iterator[Frame]:
        """The frames of the span without the first `skip`, which were yielded before."""
        inside = 0
        while (decoded := self._next()) is not None:
            if decoded.seconds >= end:
                self._pushed_back = decoded
                break
            self._read_to = decoded.seconds
            if decoded.seconds < start:
                continue
            if decoded.suspect:
                raise self._corrupt(decoded.seconds)
            inside += 1
            if inside > skip:
                yield Frame(decoded.seconds, decoded.picture)
        else:
            self._check_end(start, end)
        for seconds in self._damaged_seconds:
            if start <= seconds < end:
                raise self._corrupt(seconds)

    def close(self) -> None:
        self._decoding = iter(())
        self._pushed_back = None
        self._read_to = math.inf
        if self._container is not None:
            self._container.close()
            self._container = None

    def _next(self) -> _Decoded | None:
        decoded, self._pushed_back = self._pushed_back, None
        return decoded if decoded is not None else next(self._decoding, None)

    def _corrupt(self, seconds: float) -> CorruptMediaError | _UnverifiedDamageError:
        if seconds < self._unverified_until:
            return _UnverifiedDamageError()
        self._read_to = math.inf  # the next call starts a new pass
        return CorruptMediaError(
            f"{shown(self._media.path)}: frames are damaged from {seconds:.3f} s on; fetch the file again"
        )

    def _check_end(self, start: float, end: float) -> None:
        if self._read_error:
            raise CorruptMediaError(
                f"{shown(self._media.path)}: reading fails before the end "
                f"({one_line(self._read_error, 200)}); fetch the file again"
            )
        reached = max(self._read_to, start) + self._interval
        slack = _EARLY_END_SECONDS + 2 * self._video.max_gap_seconds
        if min(end, self._video.end_seconds) - reached > slack:
            raise TruncatedMediaError(
                f"{shown(self._media.path)}: frames end at {reached:.2f} s, but probing found an end at "
                f"{self._video.end_seconds:.2f} s; fetch the file again"
            )

    def _start_at(self, start: float, *, before: float) -> None:
        """Starts a pass at a key frame that is presented at or before `start`, and before `before`."""
        back = 0.0 if before == math.inf else start - before + self._interval
        while start - back > self._video.start_seconds and self._seek(start - back):
            first = next(self._decoding, None)
            if first is not None and first.seconds <= start and first.seconds < before:
                self._pushed_back = first
                self._first_key_frame_seconds = first.seconds
                self._read_to = math.nextafter(first.seconds, -math.inf)
                return
            back = 2 * back + 1.0  # that key frame is presented after `start`: try an earlier one
        self._rewind()

    def _should_seek(self, start: float) -> bool:
        """Whether a seek to `start` is cheaper than decoding up to it."""
        if self._pushed_back is not None and start <= self._pushed_back.seconds:
            return False
        if start - self._read_to <= _MIN_SEEK_SECONDS:
            return False
        stream = self._stream()
        index = stream.index_entries
        ticks = self._ticks(start)
        found = index.search_timestamp(ticks)
        if found >= 0 and self._seconds(index[found].timestamp) > self._read_to:
            return True
        covers = len(index) > 0 and index[len(index) - 1].timestamp > ticks
        return not covers

    def _seek(self, seconds: float) -> bool:
        import av

        if self._container is None:
            self._open()
        assert self._container is not None  # noqa: S101
        try:
            self._container.seek(self._ticks(seconds), stream=self._stream())
        except av.FFmpegError:
            return False  # a stream that is not seekable is read from its beginning
        self._start_pass(sought=True)
        return True

    def _rewind(self) -> None:
        self._open()
        self._start_pass(sought=False)
        self._read_to = -math.inf

    def _start_pass(self, *, sought: bool) -> None:
        self._pushed_back = None
        self._damaged_seconds = []
        self._read_error = ""
        self._first_key_frame_seconds, self._unverified_until = -math.inf, math.inf if sought else -math.inf
        self._decoding = self._decode(sought=sought)

    def _open(self) -> None:
        self.close()
        self._container = open_media(self._media.path)
        from av.stream import Discard

        for stream in self._container.streams:
            if stream.index != self._video.index:
                stream.discard = Discard.all
        self._time_base = self._stream().time_base or Fraction(1)
        context = self._stream().codec_context
        context.thread_count = self._threads
        if self._threads != 1:
            context.thread_type = "AUTO"
        context.options = {"err_detect": "explode"}

    def _stream(self) -> VideoStream:
        assert self._container is not None  # noqa: S101
        return self._container.streams[self._video.index]  # type: ignore[return-value]

    def _ticks(self, seconds: float) -> int:
        return math.floor((seconds + self._media.zero_seconds) / self._time_base)

    def _seconds(self, ticks: int) -> float:
        return seconds_of(ticks, self._time_base) - self._media.zero_seconds

    def _packets(self, *, sought: bool) -> Iterator[Packet[VideoStream]]:
        """The remaining packets.

        After a seek they start at a key frame, because earlier packets only disturb the decoder.
        """
        import av

        assert self._container is not None  # noqa: S101
        try:
            packets = self._container.demux(self._stream())
            if sought:
                packets = dropwhile(lambda packet: packet.size and not packet.is_keyframe, packets)
            yield from packets
        except (av.FFmpegError, OverflowError) as error:
            self._read_error = str(error)

    def _decode(self, *, sought: bool) -> Iterator[_Decoded]:
        """Decodes from the demuxer's position.

        Errors before the first clean frame (after a seek: the first clean key frame) are ignored, because
        such frames refer to frames that were not read.
        """
        import av

        recent: deque[float] = deque(maxlen=max(1, self._threads or 16))
        started, damage, last = False, math.inf, -math.inf
        clock = _PresentationClock(self._seconds, self._interval, self._video.start_seconds)
        for packet in self._packets(sought=sought):
            ticks = packet.pts if packet.pts is not None else packet.dts
            if packet.size:
                recent.append(self._seconds(ticks) if ticks is not None else last)
            try:
                pictures = packet.decode()
            except av.error.EOFError:
                break
            except av.FFmpegError:
                if started:
                    damage = min([damage, *recent])
                    self._damaged_seconds.append(damage)
                continue
            for picture in pictures:
                clean = not picture.is_corrupt
                if started and sought and picture.key_frame:
                    # Missing references of the previous group do not affect frames after this one.
                    self._unverified_until = min(self._unverified_until, last + self._interval / 2)
                started = started or (clean and (picture.key_frame or not sought))
                if not started:
                    continue
                for seconds, timed in clock.timed(picture):
                    last = seconds
                    if timed.key_frame and not timed.is_corrupt and seconds > damage:
                        damage = math.inf
                    if timed.is_corrupt:
                        damage = min(damage, seconds)
                    yield _Decoded(seconds, timed, seconds >= damage)
        for seconds, timed in clock.flush():
            yield _Decoded(seconds, timed, seconds >= damage)


class _PresentationClock:
    """Assigns each frame a time that never decreases.

    Frames without a timestamp are timed by their neighbours.
    """

    def __init__(self, seconds_of_ticks: Callable[[int], float], interval: float, start: float) -> None:
        self._seconds = seconds_of_ticks
        self._interval = interval
        self._start = start
        self._last: float | None = None
        self._waiting: list[VideoFrame] = []

    def timed(self, picture: VideoFrame) -> Iterator[tuple[float, VideoFrame]]:
        ticks = picture.pts if picture.pts is not None else picture.dts
        if ticks is not None:
            seconds = self._seconds(ticks)
            yield from self._release(seconds - len(self._waiting) * self._interval)
            self._last = seconds if self._last is None else max(seconds, self._last)
            yield self._last, picture
        elif self._last is not None:
            self._last += self._interval
            yield self._last, picture
        else:
            self._waiting.append(picture)
            if len(self._waiting) >= _MAX_UNTIMED_FRAMES:
                yield from self.flush()

    def flush(self) -> Iterator[tuple[float, VideoFrame]]:
        """Releases the frames that are still waiting, if no timestamp follows."""
        yield from self._release(self._start)

    def _release(self, seconds: float) -> Iterator[tuple[float, VideoFrame]]:
        waiting, self._waiting = self._waiting, []
        for picture in waiting:
            yield seconds, picture
            self._last = seconds
            seconds += self._interval
