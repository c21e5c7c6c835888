"""The stage that turns a segment with faces and words into the samples of its clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from pipelines.align.clips import Run, cut_between_words, trim_to_words
from pipelines.align.rows import (
    bridge,
    row_seconds,
    runs,
    segment_rows,
    shot_rows,
    spans_to_rows,
    speaking_rows,
)
from pipelines.data import KEPT, ROW_HZ, Bool, FaceTrack, Float32, Sample, Segment, SegmentDone, Word
from pipelines.shards.sample import Clip, make_sample
from pipelines.stage import Resources


@dataclass(kw_only=True)
class Align:
    """Segment to SegmentDone: the longest spans in which all of `require` holds, cut between words.

    Rows are taken away step by step (no speech, no face, not speaking, no words, too short), and what each
    step takes is counted in seconds of the file, a second once, however many faces are in it.
    """

    name: ClassVar[str] = "align"
    resources: Resources = field(default=Resources(cpus=0.5, memory_mb=1024), repr=False)

    require: tuple[str, ...] = ("speech", "face")
    min_seconds: float = 1.0
    max_seconds: float = 15.0
    max_pause_seconds: float = 1.0
    """A pause longer than this ends a clip."""
    max_face_gap_seconds: float = 0.2
    """A face missing for longer than this ends a clip."""
    lead_seconds: float = 0.12
    """Quiet kept before the first word and after the last."""
    speaking_threshold: float = 0.35
    """Least speaking score (annotators/speaking.py) of a face that counts as speaking."""
    dominance: float = 0.6
    """Least share of the liveliest mouth's score, where several faces are in the picture."""
    fingerprint: str = ""

    def setup(self) -> None:
        pass

    def __call__(self, segment: Segment) -> Iterator[SegmentDone]:
        first, count = segment_rows(segment)
        words = segment.transcript.words if segment.transcript else ()
        tracks = tuple(t for t in segment.tracks or () if t.visible.any())
        speech = bridge(spans_to_rows(segment.speech, first, count), self._rows(self.max_pause_seconds))
        steps: list[tuple[str, Bool]] = []
        layers: Bool = np.ones((1, count), bool)
        scores: Float32 | None = None
        whose: list[int] = []
        if "speech" in self.require:
            layers = layers & speech
            steps.append(("no_speech", layers.any(axis=0)))
        if "face" in self.require:
            gap = self._rows(self.max_face_gap_seconds)
            whose, seen = shot_rows(tracks, first, count, bridge_rows=gap)
            layers = layers & seen
            reason = "no_video" if segment.media.video is None else "no_face"
            steps.append((reason, layers.any(axis=0)))
            spoken, scores = speaking_rows(
                tracks, speech, first, threshold=self.speaking_threshold, dominance=self.dominance
            )
            if "speech" in self.require:
                pause = self._rows(self.max_pause_seconds)
                for number, layer in zip(whose, layers, strict=True):
                    layer &= bridge(spoken[number], pause)
                steps.append(("not_speaking", layers.any(axis=0)))
        if "speech" in self.require:
            spoken_words = spans_to_rows(((w.start, w.end) for w in words), first, count)
            layers = layers & bridge(spoken_words, self._rows(self.max_pause_seconds))
            steps.append(("no_words", layers.any(axis=0)))
        clips = [
            (tracks[whose[place]] if whose else None, run)
            for place, layer in enumerate(layers)
            for run in self._clips(layer, words, first)
        ]
        kept = np.zeros(count, bool)
        for _, (low, high) in clips:
            kept[low - first : high - first] = True
        steps.append(("too_short", kept))
        yield SegmentDone(
            video_key=segment.media.key,
            start_ms=segment.start_ms,
            end_ms=round(segment.end * 1000),
            seconds_by_fate=_fates(steps, row_seconds(segment)),
            samples=tuple(self._samples(segment, tracks, clips, words, scores, first)),
            sample_count=len(clips),
        )

    def _rows(self, seconds: float) -> int:
        return round(seconds * ROW_HZ)

    def _clips(self, layer: Bool, words: Sequence[Word], first: int) -> Iterator[Run]:
        shortest, longest = self._rows(self.min_seconds), self._rows(self.max_seconds)
        for low, high in runs(layer):
            run: Run | None = (low + first, high + first)
            if "speech" in self.require and run is not None:
                run = trim_to_words(run, words, lead_rows=self._rows(self.lead_seconds))
            if run is None or run[1] - run[0] < shortest:
                continue
            pieces = cut_between_words(run, words, min_rows=shortest, max_rows=longest)
            yield from (piece for piece in pieces if piece[1] - piece[0] >= shortest)

    def _samples(
        self,
        segment: Segment,
        tracks: Sequence[FaceTrack],
        clips: Sequence[tuple[FaceTrack | None, Run]],
        words: Sequence[Word],
        scores: Float32 | None,
        first: int,
    ) -> Iterator[Sample]:
        for track, (low, high) in clips:
            score = None
            if track is not None and scores is not None:
                number = next(i for i, other in enumerate(tracks) if other is track)
                score = scores[number, low - first : high - first]
            inside = [w for w in words if w.start * ROW_HZ > low - 0.51 and w.end * ROW_HZ < high + 0.51]
            clip = Clip(
                segment=segment,
                track=track,
                first_row=low,
                row_count=high - low,
                words=tuple(inside),
                speaking=score,
            )
            yield make_sample(clip, fingerprint=self.fingerprint)


def _fates(
    steps: Sequence[tuple[str, Bool]], seconds: np.ndarray[tuple[int], np.dtype[np.float64]]
) -> dict[str, float]:
    """Seconds by the first step that took them away; what none took is kept. They add up to the whole."""
    left = np.ones(seconds.size, bool)
    fates: dict[str, float] = {}
    for reason, mask in steps:
        fates[reason] = fates.get(reason, 0.0) + float(seconds[left & ~mask].sum())
        left &= mask
    fates[KEPT] = float(seconds[left].sum())
    return {reason: amount for reason, amount in fates.items() if amount > 0}
