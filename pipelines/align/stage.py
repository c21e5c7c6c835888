"""The stage that turns a segment with faces and words into the samples of its clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mien.pipelines.align.clips import Run, cut_between_words, trim_to_words
from mien.pipelines.align.layers import Limits, find_layers
from mien.pipelines.align.rows import runs
from mien.pipelines.data import ROW_HZ, Bool, Sample, Segment, SegmentDone, Word
from mien.pipelines.ranges import NotNegative, Share
from mien.pipelines.shards.sample import Clip, make_sample
from mien.pipelines.stage import Resources, Stage, StageContext


@dataclass(kw_only=True)
class Align(Stage):
    """Segment to SegmentDone: the longest spans in which all of `require` holds, cut between words.

    Rows are taken away step by step (no speech, no face, not speaking, no words, too short), and what each
    step takes is counted in seconds of the file, a second once, however many faces are in it.
    """

    name = "align"
    resources = Resources(cpus=0.5, memory_mb=1024)
    cpu_share = 0.1
    clip_settings = ("require", "min_seconds", "max_seconds")

    max_pause_seconds: NotNegative = 1.0
    """A pause longer than this ends a clip."""
    max_face_gap_seconds: NotNegative = 0.2
    """A face missing for longer than this ends a clip."""
    lead_seconds: NotNegative = 0.12
    """Quiet kept before the first word and after the last."""
    speaking_threshold: Share = 0.35
    """Least speaking score (annotators/speaking.py) of a face that counts as speaking."""
    dominance: Share = 0.6
    """Least share of the liveliest mouth's score, where several faces are in the picture."""

    def setup(self, context: StageContext) -> None:
        import soundfile  # noqa: F401 (once per worker, not in the first call)

        self._clip = context.clip
        self._fingerprint = context.fingerprint

    def __call__(self, segment: Segment) -> Iterator[SegmentDone]:
        words = segment.transcript.words if segment.transcript else ()
        tracks = tuple(track for track in segment.tracks or () if track.visible.any())
        limits = Limits(
            pause=_rows(self.max_pause_seconds),
            face_gap=_rows(self.max_face_gap_seconds),
            speaking_threshold=self.speaking_threshold,
            dominance=self.dominance,
        )
        layers = find_layers(segment, tracks, require=self._clip.require, limits=limits)
        kept = np.zeros(layers.mask.shape[1], bool)
        samples: list[Sample] = []
        for place, layer in enumerate(layers.mask):
            number = layers.whose[place] if layers.whose else None
            for run in self._clips(layer, words, layers.first):
                local = slice(run[0] - layers.first, run[1] - layers.first)
                kept[local] = True
                clip = Clip(
                    segment=segment,
                    track=None if number is None else tracks[number],
                    first_row=run[0],
                    row_count=run[1] - run[0],
                    words=_whole_words(words, run),
                    speaking=None
                    if number is None or layers.scores is None
                    else layers.scores[number, local],
                )
                samples.append(make_sample(clip, fingerprint=self._fingerprint))
        yield SegmentDone(
            video_key=segment.media.key,
            start_ms=segment.start_ms,
            end_ms=round(segment.end * 1000),
            seconds_by_fate=layers.fates(segment, kept),
            samples=tuple(samples),
            sample_count=len(samples),
        )

    def _clips(self, layer: Bool, words: Sequence[Word], first: int) -> Iterator[Run]:
        shortest, longest = _rows(self._clip.min_seconds), _rows(self._clip.max_seconds)
        for low, high in runs(layer):
            run: Run | None = (low + first, high + first)
            if "speech" in self._clip.require and run is not None:
                run = trim_to_words(run, words, lead_rows=_rows(self.lead_seconds))
            if run is None or run[1] - run[0] < shortest:
                continue
            pieces = cut_between_words(run, words, min_rows=shortest, max_rows=longest)
            yield from (piece for piece in pieces if piece[1] - piece[0] >= shortest)


def _rows(seconds: float) -> int:
    return round(seconds * ROW_HZ)


def _whole_words(words: Sequence[Word], run: Run) -> tuple[Word, ...]:
    """Those inside the clip, to the half row that a cut between words may be off."""
    low, high = run[0] - 0.51, run[1] + 0.51
    return tuple(word for word in words if word.start * ROW_HZ > low and word.end * ROW_HZ < high)
