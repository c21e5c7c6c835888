"""The stage that cuts a file into segments. Its sound is decoded once, as a stream."""

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
from mien.pipelines.ranges import NotNegative
from mien.pipelines.speech.vad import WINDOW_SAMPLES, WINDOW_SECONDS, VoiceActivity, speech_spans
from mien.pipelines.stage import DeadlineRule, Resources, Stage, StageContext
from mien.pipelines.weights import locate, sha256_of

VAD_WEIGHTS = "silero_vad_v6"


@dataclass(kw_only=True)
class Split(Stage):
    """MediaFile to Segments that touch: [0, a), [a, b) … to the end; cut in pauses, near `target_seconds`."""

    name = "split"
    resources = Resources(cpus=1.0, memory_mb=1024)
    cpu_share = 0.1
    # A segment leaves at least every 75 s of media, whatever the length of the file.
    deadline = DeadlineRule(base=120.0, per_second=0.2)
    takes_videos = True
    fans_out = True
    clip_settings = ("require",)

    target_seconds: float = 60.0
    min_seconds: float = 40.0
    max_seconds: float = 75.0
    threshold: float = 0.5
    """Silero's probability from which on a window is speech."""
    min_speech_seconds: NotNegative = 0.1
    min_silence_seconds: NotNegative = 0.2
    pad_seconds: NotNegative = 0.16

    def __post_init__(self) -> None:
        lengths = (self.min_seconds, self.target_seconds, self.max_seconds)
        if not 0.5 <= lengths[0] <= lengths[1] <= lengths[2] or lengths[2] - lengths[0] < 0.5:
            raise ConfigError(
                "split: 0.5 <= min_seconds <= target_seconds <= max_seconds (by 0.5 at least) must hold, got "
                f"{lengths[0]:g}, {lengths[1]:g}, {lengths[2]:g}; change them together"
            )
        if not 0.0 < self.threshold < 1.0:
            raise ConfigError(f"split.threshold is a probability between 0 and 1, got {self.threshold:g}")

    def weights(self) -> tuple[str, ...]:
        # Speech is found even where it is not required: every clip gets the words that are spoken in it.
        return (VAD_WEIGHTS,)

    def setup(self, context: StageContext) -> None:
        import av  # noqa: F401 (once per worker, not in the first call)

        self._require, self._local_media = context.clip.require, context.local_media
        self._vad = VoiceActivity(str(locate(VAD_WEIGHTS)))
        self._use = ModelUse(name=VAD_WEIGHTS, sha256=sha256_of(VAD_WEIGHTS), provider=self._vad.provider)

    def __call__(self, media: MediaFile) -> Iterator[Segment | SegmentDone | SegmentFailed]:
        speech_wanted, face_wanted = "speech" in self._require, "face" in self._require
        missing = None
        if media.audio is None and speech_wanted:
            missing = "no_audio"
        elif media.video is None and face_wanted:
            missing = "no_video"
        segments: Iterator[Segment | SegmentDone | SegmentFailed]
        if missing is not None:
            segments = iter([_dropped(media, 0.0, media.duration_seconds, missing)])
        elif media.audio is None:
            segments = self._even(media)
        else:
            segments = self._local(media)
        done = media.job.done_starts_ms
        yield from (segment for segment in segments if int(segment.key.rsplit("-", 1)[1]) not in done)

    def _even(self, media: MediaFile) -> Iterator[Segment]:
        """Without sound there are no pauses to look for."""
        count = max(1, round(media.duration_seconds / self.target_seconds))
        cuts = [round(i * media.duration_seconds / count * ROW_HZ) / ROW_HZ for i in range(count)]
        for start, end in zip(cuts, [*cuts[1:], media.duration_seconds], strict=True):
            yield Segment(media=media, start=start, end=end, sound=None)

    def _local(self, media: MediaFile) -> Iterator[Segment | SegmentDone | SegmentFailed]:
        """As long as segments are still to come, the file is held here."""
        with self._local_media.local_copy(media) as path:
            yield from self._until_it_breaks(media, SoundStream(replace(media, path=path)))

    def _until_it_breaks(
        self, media: MediaFile, sound: SoundStream
    ) -> Iterator[Segment | SegmentDone | SegmentFailed]:
        """Damage ends the file there; whole segments before it stand, whatever the timing of the run."""
        window = _Window()
        try:
            yield from self._in_pauses(media, sound, window)
        except MediaError as error:
            if window.start == 0.0:
                raise
            yield SegmentFailed(
                video_key=media.key,
                start_ms=round(window.start * 1000),
                end_ms=round(media.duration_seconds * 1000),
                stage=self.name,
                error_class=type(error).__name__,
                text=str(error),
            )

    def _in_pauses(
        self, media: MediaFile, sound: SoundStream, window: _Window
    ) -> Iterator[Segment | SegmentDone]:
        self._vad.reset()
        blocks = iter(sound)
        block = next(blocks, None)
        while block is not None:
            following = next(blocks, None)
            window.append(block, self._vad.feed(block, last=following is None))
            block = following
            # A second of foresight, so that the speech found up to the latest cut is settled.
            while block is not None and window.seconds >= self.max_seconds + 1.0:
                speech = self._speech(window, window.start + window.seconds)
                cut = choose_cut(
                    speech,
                    window.sound,
                    start=window.start,
                    earliest=window.start + self.min_seconds,
                    latest=window.start + self.max_seconds,
                    target=window.start + self.target_seconds,
                )
                yield self._segment(media, window, cut)
                window.advance(cut)
        while media.duration_seconds - window.start > self.max_seconds:
            end = media.duration_seconds
            cut = choose_cut(
                self._speech(window, end),
                window.sound,
                start=window.start,
                earliest=window.start + self.min_seconds / 2,
                latest=min(window.start + self.max_seconds, end - 1.0),
                target=window.start + min(self.target_seconds, (end - window.start) / 2),
            )
            yield self._segment(media, window, cut)
            window.advance(cut)
        if media.duration_seconds > window.start:
            yield self._segment(media, window, media.duration_seconds)

    def _speech(self, window: _Window, end: float) -> tuple[Span, ...]:
        first = window.first_window_seconds
        spans = speech_spans(
            window.probabilities[: round((end - first) / WINDOW_SECONDS)],
            start=first,
            end=end,
            threshold=self.threshold,
            min_speech_seconds=self.min_speech_seconds,
            min_silence_seconds=self.min_silence_seconds,
            pad_seconds=self.pad_seconds,
        )
        # The first window may begin up to 31 ms before the segment does.
        return tuple((max(window.start, a), b) for a, b in spans if b > window.start)

    def _segment(self, media: MediaFile, window: _Window, end: float) -> Segment | SegmentDone:
        speech = self._speech(window, end)
        if not speech and "speech" in self._require:
            return _dropped(media, window.start, end, "no_speech")
        sound = window.sound[: round((end - window.start) * SOUND_HZ)].copy()
        return Segment(
            media=media, start=window.start, end=end, sound=sound, speech=speech, models=(self._use,)
        )


class _Window:
    """Sound and probabilities from the start of the segment that is being gathered."""

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
        """From the window that holds `start` on."""
        return self._probabilities

    @property
    def first_window_seconds(self) -> float:
        """When the first of `probabilities` begins."""
        return self._first_window * WINDOW_SECONDS

    def append(self, sound: Int16, probabilities: Float32) -> None:
        self.sound = np.concatenate([self.sound, sound])
        self._probabilities = np.concatenate([self._probabilities, probabilities])

    def advance(self, cut: float) -> None:
        self.sound = self.sound[round((cut - self.start) * ROW_HZ) * ROW_SAMPLES :]
        self.start = cut
        # In whole rows: the cut as a float may lie a hair before its sample.
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
    """A time on the 25 Hz grid in [earliest, latest] at which to end the segment that began at `start`.

    `speech` are the spans of speech and `sound` (N,) the samples from `start` on, both reaching to `latest`
    at least. A pause is worth its width (1 s is as good as any wider) less its distance from `target`.
    """
    best: tuple[float, float] | None = None
    edges = [start, *(edge for span in speech for edge in span), float("inf")]
    for quiet_from, quiet_to in zip(edges[0::2], edges[1::2], strict=True):
        low, high = max(quiet_from, earliest), min(quiet_to, latest)
        # A pause narrower than two rows has no row that is surely inside it.
        if high - low < 2 / ROW_HZ:
            continue
        cut = min(max(target, low + 1 / ROW_HZ), high - 1 / ROW_HZ)
        if quiet_to - quiet_from < 4.0:
            cut = (low + high) / 2
        worth = min(quiet_to - quiet_from, 1.0) - 0.5 * abs(cut - target) / (latest - earliest)
        if best is None or worth > best[0]:
            best = (worth, cut)
    if best is not None:
        return round(best[1] * ROW_HZ) / ROW_HZ
    return _quietest(sound, start=start, earliest=(target + latest) / 2, latest=latest)


def _quietest(sound: Int16, *, start: float, earliest: float, latest: float) -> float:
    first = round((earliest - start) * ROW_HZ)
    last = round((latest - start) * ROW_HZ)
    rows = sound[: sound.size // ROW_SAMPLES * ROW_SAMPLES].reshape(-1, ROW_SAMPLES)[first:last]
    if not len(rows):
        return round(latest * ROW_HZ) / ROW_HZ
    power = np.square(rows.astype(np.float32)).mean(axis=1)
    # Three rows (120 ms) together, so that a single zero crossing of loud sound does not win.
    smooth = np.convolve(power, np.ones(3) / 3, mode="same")
    return round((start * ROW_HZ) + first + int(np.argmin(smooth)) + 0.5) / ROW_HZ
