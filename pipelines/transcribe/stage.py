"""The stage `transcribe`: recognises the words of a segment, with the time of each word."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from mien.ingest.errors import ConfigError, ProviderError
from mien.pipelines.data import (
    ROW_HZ,
    SOUND_HZ,
    FaceTrack,
    Float32,
    ModelUse,
    Segment,
    Span,
    Transcript,
    Word,
)
from mien.pipelines.stage import AtLeastOne, NotNegative, Resources, Stage, StageContext
from mien.pipelines.transcribe.windows import (
    WhisperWindow,
    intersect,
    plan_windows,
    restrict_to_speech,
    spans_without_words,
)
from mien.pipelines.weights import locate, sha256_of

MEL_FRAMES_HZ = 100
"""Rate of Whisper's mel frames."""


@dataclass(kw_only=True)
class Transcribe(Stage):
    """Adds the transcript to a Segment.

    Only speech is transcribed, and only while a face is visible if clips require one.
    """

    name = "transcribe"
    environment = {  # noqa: RUF012 (never changed)
        # The encoder allocates and frees blocks of 72 MB about a hundred times per window. By default glibc
        # returns each block to the kernel and gets it back page by page, which takes two fifths of the
        # encoder's CPU time. A single arena is needed, because the others cannot hold blocks of this size.
        "MALLOC_ARENA_MAX": "1",
        "MALLOC_MMAP_MAX_": "0",
        "MALLOC_TRIM_THRESHOLD_": str(1024**3),
    }
    resources = Resources(cpus=1.0, memory_mb=3072)
    clip_settings = ("require",)

    model: str = "whisper-base"
    device: Literal["cpu", "cuda"] = "cpu"
    compute_type: Literal[
        "auto",
        "int8",
        "int8_float32",
        "int8_float16",
        "int8_bfloat16",
        "int16",
        "float16",
        "bfloat16",
        "float32",
    ] = "int8"
    """CTranslate2's: int8 on a CPU (float32 takes 14 times as long), float16 or int8_float16 on a GPU."""
    beam_size: AtLeastOne = 5
    language: str = ""
    """A Whisper language code, or empty to detect it for each segment."""
    threads: AtLeastOne = 1
    batch_size: AtLeastOne = 8
    passes: AtLeastOne = 3
    """The maximum number of times that speech is transcribed if no words are found in it."""
    pad_seconds: NotNegative = 1.0
    """Sound before and after speech, as context. It costs nothing, since a window always has 30 s."""

    def weights(self) -> tuple[str, ...]:
        return (self.model,)

    def setup(self, context: StageContext) -> None:
        from mien.pipelines.transcribe.whisper import open_whisper

        self._require = context.clip.require
        if self.device == "cuda":
            _require_cuda()
        self._model, self._pipeline = open_whisper(
            str(locate(self.model)),
            device=self.device,
            compute_type=self.compute_type,
            threads=self.threads,
        )
        if self.language and self.language not in self._model.supported_languages:
            raise ConfigError(
                f"transcribe.language is {self.language!r}, which {self.model} does not support; "
                "set a code such as en, de or zh, or leave it empty"
            )
        provider = "CUDA" if self._model.model.device == "cuda" else "CPU"
        self._use = ModelUse(
            name=self.model,
            sha256=sha256_of(self.model),
            provider=f"CTranslate2 {provider} {self._model.model.compute_type}",
        )

    def close(self) -> None:
        for name in ("_model", "_pipeline"):
            vars(self).pop(name, None)

    def __call__(self, segment: Segment) -> Iterator[Segment]:
        spans = list(segment.speech)
        if "face" in self._require and segment.tracks is not None:
            spans = intersect(spans, visible_spans(segment.tracks))
        if segment.sound is None or not spans:
            yield segment
            return
        transcript = self._transcribe(segment, segment.sound.astype(np.float32) / 32768.0, spans)
        yield dataclasses.replace(segment, transcript=transcript, models=(*segment.models, self._use))

    def _transcribe(self, segment: Segment, sound: Float32, spans: list[Span]) -> Transcript:
        """Transcribes `spans`, then again the parts without words, at most `passes` times in all.

        Whisper ends the text of a window early if the voice, the place or the language changes within it. If
        transcription starts again from there, the rest has words.
        """
        words: list[Word] = []
        language, probability = self.language, 1.0
        remaining = spans
        for _ in range(self.passes):
            plan = plan_windows(remaining, limit=(segment.start, segment.end), pad_seconds=self.pad_seconds)
            if not language:
                language, probability = self._model.language_of(
                    [sound[_samples(window.input, segment.start)] for window in plan]
                )
            found = self._run_whisper(sound, plan, language, segment.start)
            words = restrict_to_speech([*words, *found], segment.speech)
            remaining = spans_without_words(spans, words)
            if not remaining or not found:
                break
        return Transcript(language=language, language_probability=probability, words=tuple(words))

    def _run_whisper(
        self, sound: Float32, plan: list[WhisperWindow], language: str, origin: float
    ) -> list[Word]:
        parts, _ = self._pipeline.transcribe(
            sound,
            language=language,
            beam_size=self.beam_size,
            word_timestamps=True,
            clip_timestamps=[{"start": w.input[0] - origin, "end": w.input[1] - origin} for w in plan],
            batch_size=self.batch_size,
        )
        # faster-whisper identifies the window of a part by the mel frame (10 ms) at which the window starts.
        owned = {
            int(_samples(window.input, origin).start / SOUND_HZ * MEL_FRAMES_HZ): window.owned
            for window in plan
        }
        words = []
        for part in parts:
            low, high = owned[part.seek]
            timed = (_word(word, origin) for word in part.words or ())
            words += [word for word in timed if low <= (word.start + word.end) / 2 < high]
        return words


def _samples(span: Span, origin: float) -> slice:
    """The span in samples, rounded down as in faster-whisper."""
    return slice(int((span[0] - origin) * SOUND_HZ), int((span[1] - origin) * SOUND_HZ))


def visible_spans(tracks: tuple[FaceTrack, ...], *, bridge_rows: int = ROW_HZ) -> list[Span]:
    """Spans in which any face is visible. Gaps of up to `bridge_rows` are ignored."""
    rows = np.unique(np.concatenate([[], *(t.first_row + np.flatnonzero(t.visible) for t in tracks)]))
    if not rows.size:
        return []
    runs = np.split(rows, np.flatnonzero(np.diff(rows) > bridge_rows) + 1)
    return [(float(run[0]) / ROW_HZ, float(run[-1] + 1) / ROW_HZ) for run in runs]


def _word(word: Any, offset: float) -> Word:
    return Word(
        text=str(word.word).strip(),
        start=offset + float(word.start),
        end=offset + float(word.end),
        probability=float(word.probability),
    )


def _require_cuda() -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count() == 0:
        raise ProviderError(
            "transcribe.device is cuda, but CTranslate2 sees no CUDA device; "
            'run `mien doctor`, or set transcribe.device = "cpu"'
        )
