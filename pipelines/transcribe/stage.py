"""The stage that writes down what is said, with the time of each word."""

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
from mien.pipelines.ranges import AtLeastOne, NotNegative
from mien.pipelines.stage import Resources, Stage, StageContext
from mien.pipelines.transcribe.windows import Window, heard, intersect, unsaid, windows
from mien.pipelines.weights import locate, sha256_of

FRAMES_HZ = 100
"""Whisper's mel frames."""


@dataclass(kw_only=True)
class Transcribe(Stage):
    """Segment to Segment with its transcript; only speech (under a face, where one is required) is heard."""

    name = "transcribe"
    environment = {  # noqa: RUF012 (never changed)
        # The encoder asks for blocks of 72 MB and gives them back, some hundred times a window. As it comes,
        # glibc hands each to the kernel and has it back page by page, which is two fifths of the encoder's
        # time on a CPU. One arena, since all others are made of pieces smaller than such a block.
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
    """CTranslate2's: int8 on a CPU (float32 costs 14 times as much), float16 or int8_float16 on a GPU."""
    beam_size: AtLeastOne = 5
    language: str = ""
    """A Whisper language code, or empty to detect it for each segment."""
    threads: AtLeastOne = 1
    batch_size: AtLeastOne = 8
    passes: AtLeastOne = 3
    """How often at most speech is heard that stays without words."""
    pad_seconds: NotNegative = 1.0
    """Sound heard before and after the speech: context, free of cost in a window of always 30 s."""

    def weights(self) -> tuple[str, ...]:
        return (self.model,)

    def setup(self, context: StageContext) -> None:
        from mien.pipelines.transcribe.whisper import open_whisper

        self._require = context.clip.require
        if self.device == "cuda":
            _prove_cuda()
        self._model, self._pipeline = open_whisper(
            str(locate(self.model)),
            device=self.device,
            compute_type=self.compute_type,
            threads=self.threads,
        )
        if self.language and self.language not in self._model.supported_languages:
            raise ConfigError(
                f"transcribe.language is {self.language!r}, which {self.model} does not know; "
                "set a code as en, de or zh, or leave it empty"
            )
        provider = "CUDA" if self._model.model.device == "cuda" else "CPU"
        self._use = ModelUse(
            name=self.model,
            sha256=sha256_of(self.model),
            provider=f"CTranslate2 {provider} {self._model.model.compute_type}",
        )

    def __call__(self, segment: Segment) -> Iterator[Segment]:
        spans = list(segment.speech)
        if "face" in self._require and segment.tracks is not None:
            spans = intersect(spans, seen_spans(segment.tracks))
        if segment.sound is None or not spans:
            yield segment
            return
        transcript = self._hear(segment, segment.sound.astype(np.float32) / 32768.0, spans)
        yield dataclasses.replace(segment, transcript=transcript, models=(*segment.models, self._use))

    def _hear(self, segment: Segment, sound: Float32, spans: list[Span]) -> Transcript:
        """Hears `spans`, and what of them stayed without a word once more.

        Whisper ends a window's text early where a voice, a place or a language changes in it; heard from
        there on, the rest has words.
        """
        words: list[Word] = []
        language, probability = self.language, 1.0
        left = spans
        for _ in range(self.passes):
            plan = windows(left, limit=(segment.start, segment.end), pad_seconds=self.pad_seconds)
            if not language:
                language, probability = self._model.language_of(
                    [sound[_samples(window.heard, segment.start)] for window in plan]
                )
            found = self._read(sound, plan, language, segment.start)
            words = heard([*words, *found], segment.speech)
            left = unsaid(spans, words)
            if not left or not found:
                break
        return Transcript(language=language, language_probability=probability, words=tuple(words))

    def _read(self, sound: Float32, plan: list[Window], language: str, origin: float) -> list[Word]:
        parts, _ = self._pipeline.transcribe(
            sound,
            language=language,
            beam_size=self.beam_size,
            word_timestamps=True,
            clip_timestamps=[{"start": w.heard[0] - origin, "end": w.heard[1] - origin} for w in plan],
            batch_size=self.batch_size,
        )
        # faster-whisper says which window a part is of by the frame (10 ms) at which the window begins.
        owned = {
            int(_samples(window.heard, origin).start / SOUND_HZ * FRAMES_HZ): window.owned for window in plan
        }
        words = []
        for part in parts:
            low, high = owned[part.seek]
            said = (_word(word, origin) for word in part.words or ())
            words += [word for word in said if low <= (word.start + word.end) / 2 < high]
        return words


def _samples(span: Span, origin: float) -> slice:
    """As faster-whisper cuts them: rounded down."""
    return slice(int((span[0] - origin) * SOUND_HZ), int((span[1] - origin) * SOUND_HZ))


def seen_spans(tracks: tuple[FaceTrack, ...], *, bridge_rows: int = ROW_HZ) -> list[Span]:
    """Spans in which any face is visible; gaps up to `bridge_rows` are no gaps."""
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


def _prove_cuda() -> None:
    import ctranslate2

    if ctranslate2.get_cuda_device_count() == 0:
        raise ProviderError(
            "transcribe.device is cuda, but CTranslate2 sees no CUDA device; "
            'run `mien doctor`, or set transcribe.device = "cpu"'
        )
