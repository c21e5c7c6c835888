"""The stage `split`: splits a file into segments in pauses of its speech.

The sound is decoded once, as a stream.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mien.ingest.errors import ConfigError, MediaError
from mien.ingest.media import MediaFile
from mien.pipelines.data import (
    ROW_HZ,
    ROW_SAMPLES,
    SOUND_HZ,
    Float32,
    Int16,
    ModelUse,
    Segment,
    SegmentDone,
    SegmentFailed,
    Span,
)
from mien.pipelines.decode.sound import SoundStream
from mien.pipelines.speech.vad import WINDOW_SAMPLES, WINDOW_SECONDS, VoiceActivity, speech_spans
from mien.pipelines.stage import DeadlineRule, NotNegative, Resources, Stage, StageContext
from mien.pipelines.weights import locate, sha256_of

VAD_WEIGHTS = "silero_vad_v6"


@dataclass(kw_only=True)
class Split(Stage):
    """MediaFile to contiguous Segments [0, a), [a, b), …, split in pauses near `target_seconds`."""

    name = "split"
    resources = Resources(cpus=1.0, memory_mb=1024)
    cpu_share = 0.1
    # A segment is yielded at least every 75 s of media, whatever the length of the file.
    deadline = DeadlineRule(base=120.0, per_second=0.2)
    takes_videos = True
    fans_out = True
    clip_settings = ("require",)

    target_seconds: float = 60.0
    min_seconds: float = 40.0
    max_seconds: float = 75.0
    threshold: float = 0.5
    """A window is speech if Silero's probability reaches this value."""
    min_speech_seconds: NotNegative = 0.1
    min_silence_seconds: NotNegative = 0.2
    pad_seconds: NotNegative = 0.16

    def __post_init__(self) -> None:
        lengths = (self.min_seconds, self.target_seconds, self.max_seconds)
        if not 0.5 <= lengths[0] <= lengths[1] <= lengths[2] or lengths[2] - lengths[0] < 0.5:
            raise ConfigError(
                "split: min_seconds, target_seconds and max_seconds must ascend from at least 0.5, with "
                f"max_seconds at least 0.5 above min_seconds, got {lengths[0]:g}, {lengths[1]:g}, "
                f"{lengths[2]:g}; change them together"
            )
        if not 0.0 < self.threshold < 1.0:
            raise ConfigError(
                f"split.threshold must be a probability between 0 and 1, got {self.threshold:g}"
            )

    def weights(self) -> tuple[str, ...]:
        # Speech is detected even if it is not required, because every clip gets the words spoken in it.
        return (VAD_WEIGHTS,)

    def setup(self, context: StageContext) -> None:
        import av  # noqa: F401 (here instead of during the first call)

        self._require, self._local_media = context.clip.require, context.local_media
        self._vad = VoiceActivity(str(locate(VAD_WEIGHTS)))
        self._use = ModelUse(name=VAD_WEIGHTS, sha256=sha256_of(VAD_WEIGHTS), provider=self._vad.provider)

    def close(self) -> None:
        vars(self).pop("_vad", None)

    def __call__(self, media: MediaFile) -> Iterator[Segment | SegmentDone | SegmentFailed]:
        missing = None
        if media.audio is None and "speech" in self._require:
            missing = "no_audio"
        elif media.video is None and "face" in self._require:
            missing = "no_video"
        segments: Iterator[Segment | SegmentDone | SegmentFailed]
        if missing is not None:
            segments = iter([_dropped(media, 0.0, media.duration_seconds, missing)])
        elif media.audio is None:
            segments = self._split_evenly(media)
        else:
            segments = self._split_local_copy(media)
        done = media.job.done_starts_ms
        yield from (segment for segment in segments if int(segment.key.rsplit("-", 1)[1]) not in done)

    def _split_evenly(self, media: MediaFile) -> Iterator[Segment]:
        """Segments of equal length, for files without sound and therefore without pauses."""
        count = max(1, round(media.duration_seconds / self.target_seconds))
        cuts = [round(i * media.duration_seconds / count * ROW_HZ) / ROW_HZ for i in range(count)]
        for start, end in zip(cuts, [*cuts[1:], media.duration_seconds], strict=True):
            yield Segment(media=media, start=start, end=end, sound=None)

    def _split_local_copy(self, media: MediaFile) -> Iterator[Segment | SegmentDone | SegmentFailed]:
        """Keeps the file on this node until the last segment has been yielded."""
        with self._local_media.local_copy(media) as path:
            yield from self._split_until_damage(media, SoundStream(replace(media, path=path)))

    def _split_until_damage(
        self, media: MediaFile, sound: SoundStream
    ) -> Iterator[Segment | SegmentDone | SegmentFailed]:
        """Damage ends the file. Complete segments before it are valid, whatever the timing of the run."""
        buffer = _SegmentBuffer()
        try:
            yield from self._split_in_pauses(media, sound, buffer)
        except MediaError as error:
            if buffer.start == 0.0:
                raise
            yield SegmentFailed(
                video_key=media.key,
                start_ms=round(buffer.start * 1000),
                end_ms=round(media.duration_seconds * 1000),
                stage=self.name,
                error_class=type(error).__name__,
                text=str(error),
            )

    def _split_in_pauses(
        self, media: MediaFile, sound: SoundStream, buffer: _SegmentBuffer
    ) -> Iterator[Segment | SegmentDone]:
        self._vad.reset()
        blocks = iter(sound)
        block = next(blocks, None)
        while block is not None:
            following = next(blocks, None)
            buffer.append(block, self._vad.feed(block, last=following is None))
            block = following
            # One second more, so that the speech detected up to the latest cut no longer changes.
            while block is not None and buffer.seconds >= self.max_seconds + 1.0:
                speech = self._speech(buffer, buffer.start + buffer.seconds)
                cut = choose_cut(
                    speech,
                    buffer.sound,
                    start=buffer.start,
                    earliest=buffer.start + self.min_seconds,
                    latest=buffer.start + self.max_seconds,
                    target=buffer.start + self.target_seconds,
                )
                yield self._segment(media, buffer, cut)
                buffer.advance(cut)
        while media.duration_seconds - buffer.start > self.max_seconds:
            end = media.duration_seconds
            cut = choose_cut(
                self._speech(buffer, end),
                buffer.sound,
                start=buffer.start,
                earliest=buffer.start + self.min_seconds / 2,
                latest=min(buffer.start + self.max_seconds, end - 1.0),
                target=buffer.start + min(self.target_seconds, (end - buffer.start) / 2),
            )
            yield self._segment(media, buffer, cut)
            buffer.advance(cut)
        if media.duration_seconds > buffer.start:
            yield self._segment(media, buffer, media.duration_seconds)

    def _speech(self, buffer: _SegmentBuffer, end: float) -> tuple[Span, ...]:
        first = buffer.first_window_seconds
        spans = speech_spans(
            buffer.probabilities[: round((end - first) / WINDOW_SECONDS)],
            start=first,
            end=end,
            threshold=self.threshold,
            min_speech_seconds=self.min_speech_seconds,
            min_silence_seconds=self.min_silence_seconds,
            pad_seconds=self.pad_seconds,
        )
        # The first VAD window may start up to 31 ms before the segment.
        return tuple((max(buffer.start, a), b) for a, b in spans if b > buffer.start)

    def _segment(self, media: MediaFile, buffer: _SegmentBuffer, end: float) -> Segment | SegmentDone:
        speech = self._speech(buffer, end)
        if not speech and "speech" in self._require:
            return _dropped(media, buffer.start, end, "no_speech")
        sound = buffer.sound[: round((end - buffer.start) * SOUND_HZ)].copy()
        return Segment(
            media=media, start=buffer.start, end=end, sound=sound, speech=speech, models=(self._use,)
        )


class _SegmentBuffer:
    """Sound and speech probabilities from the start of the current segment on."""

    def __init__(self) -> None:
        self.start = 0.0
        self.sound: Int16 = np.zeros(0, np.int16)
        self._probabilities: Float32 = np.zeros(0, np.float32)
        self._first_window = 0

    @property
    def seconds(self) -> float:
        return self.sound.size / SOUND_HZ

    @property
    def probabilities(self) -> Float32:
        """Of the VAD windows from the one that contains `start` on."""
        return self._probabilities

    @property
    def first_window_seconds(self) -> float:
        """Start time of the first of `probabilities`."""
        return self._first_window * WINDOW_SECONDS

    def append(self, sound: Int16, probabilities: Float32) -> None:
        self.sound = np.concatenate([self.sound, sound])
        self._probabilities = np.concatenate([self._probabilities, probabilities])

    def advance(self, cut: float) -> None:
        self.sound = self.sound[round((cut - self.start) * ROW_HZ) * ROW_SAMPLES :]
        self.start = cut
        # Computed in whole rows, because the cut as a float may be slightly before its sample.
        keep_from = round(cut * ROW_HZ) * ROW_SAMPLES // WINDOW_SAMPLES
        self._probabilities = self._probabilities[keep_from - self._first_window :]
        self._first_window = keep_from


def _dropped(media: MediaFile, start: float, end: float, reason: str) -> SegmentDone:
    start_ms, end_ms = round(start * 1000), round(end * 1000)
    return SegmentDone(
        video_key=media.key,
        start_ms=start_ms,
        end_ms=end_ms,
        seconds_by_fate={reason: end - start},
    )


def choose_cut(
    speech: Sequence[Span], sound: Int16, *, start: float, earliest: float, latest: float, target: float
) -> float:
    """A time on the 25 Hz grid in [earliest, latest] at which the segment that started at `start` ends.

    `speech` are the spans of speech and `sound` (N,) the samples from `start` on, both up to `latest` or
    further. The score of a pause is its width (at most 1 s) minus its distance from `target`. Without a pause
    the quietest point is used.
    """
    best: tuple[float, float] | None = None
    edges = [start, *(edge for span in speech for edge in span), float("inf")]
    for quiet_from, quiet_to in zip(edges[0::2], edges[1::2], strict=True):
        low, high = max(quiet_from, earliest), min(quiet_to, latest)
        # A pause shorter than two rows may contain no whole row.
        if high - low < 2 / ROW_HZ:
            continue
        cut = min(max(target, low + 1 / ROW_HZ), high - 1 / ROW_HZ)
        if quiet_to - quiet_from < 4.0:
            cut = (low + high) / 2
        score = min(quiet_to - quiet_from, 1.0) - 0.5 * abs(cut - target) / (latest - earliest)
        if best is None or score > best[0]:
            best = (score, cut)
    if best is not None:
        return round(best[1] * ROW_HZ) / ROW_HZ
    return _quietest_point(sound, start=start, earliest=(target + latest) / 2, latest=latest)


def _quietest_point(sound: Int16, *, start: float, earliest: float, latest: float) -> float:
    first = round((earliest - start) * ROW_HZ)
    last = round((latest - start) * ROW_HZ)
    rows = sound[: sound.size // ROW_SAMPLES * ROW_SAMPLES].reshape(-1, ROW_SAMPLES)[first:last]
    if not len(rows):
        return round(latest * ROW_HZ) / ROW_HZ
    power = np.square(rows.astype(np.float32)).mean(axis=1)
    # Averaged over three rows (120 ms), so that a zero crossing of loud sound is not chosen.
    smooth = np.convolve(power, np.ones(3) / 3, mode="same")
    return round((start * ROW_HZ) + first + int(np.argmin(smooth)) + 0.5) / ROW_HZ
