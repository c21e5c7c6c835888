"""The stage that writes down what is said, with the time of each word."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal

import numpy as np

from ingest.errors import ConfigError, ProviderError
from pipelines.data import (
    ROW_HZ,
    SOUND_HZ,
    FaceTrack,
    Float32,
    Int16,
    ModelUse,
    Segment,
    Span,
    Transcript,
    Word,
)
from pipelines.stage import Resources
from pipelines.transcribe.windows import heard, intersect, pack
from pipelines.weights import locate, sha256_of


@dataclass(kw_only=True)
class Transcribe:
    """Segment to Segment with its transcript; only speech (under a face, where one is required) is heard."""

    name: ClassVar[str] = "transcribe"
    resources: Resources = field(default=Resources(cpus=1.0, memory_mb=3072), repr=False)

    require: tuple[str, ...] = ("speech", "face")
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
    beam_size: int = 5
    language: str = ""
    """A Whisper language code, or empty to detect it for each segment."""
    threads: int = 1
    batch_size: int = 8
    pad_seconds: float = 1.0
    """Sound heard before and after the speech: context, free of cost in a window of always 30 s."""

    def setup(self) -> None:
        from pipelines.transcribe.whisper import open_whisper

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
        windows = pack(self._worth_hearing(segment))
        if segment.sound is None or not windows:
            yield segment
            return
        transcript = self._hear(segment, segment.sound, windows)
        yield dataclasses.replace(segment, transcript=transcript, models=(*segment.models, self._use))

    def _worth_hearing(self, segment: Segment) -> list[Span]:
        spans = list(segment.speech)
        if "face" in self.require and segment.tracks is not None:
            spans = intersect(spans, seen_spans(segment.tracks))
        low, high = segment.start, segment.end
        padded: list[Span] = []
        for a, b in ((max(low, a - self.pad_seconds), min(high, b + self.pad_seconds)) for a, b in spans):
            if padded and a <= padded[-1][1]:
                padded[-1] = (padded[-1][0], max(b, padded[-1][1]))
            else:
                padded.append((a, b))
        return padded

    def _hear(self, segment: Segment, pcm: Int16, windows: list[Span]) -> Transcript:
        sound: Float32 = pcm.astype(np.float32) / 32768.0
        clips = [{"start": a - segment.start, "end": b - segment.start} for a, b in windows]
        if self.language:
            language, probability = self.language, 1.0
        else:
            language, probability = self._model.language_of(
                [sound[int(c["start"] * SOUND_HZ) : int(c["end"] * SOUND_HZ)] for c in clips]
            )
        found, _ = self._pipeline.transcribe(
            sound,
            language=language,
            beam_size=self.beam_size,
            word_timestamps=True,
            clip_timestamps=clips,
            batch_size=self.batch_size,
        )
        words = [_word(word, segment.start) for part in found for word in part.words or ()]
        return Transcript(
            language=language,
            language_probability=probability,
            words=tuple(heard(words, segment.speech)),
        )


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
