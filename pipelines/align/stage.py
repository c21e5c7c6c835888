"""The stage `align`: finds the clips of a segment with faces and words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from mien.pipelines.align.clips import Run, cut_between_words, trim_to_words
from mien.pipelines.align.layers import Limits, find_layers
from mien.pipelines.data import ROW_HZ, AlignedSegment, Bool, Clip, Segment, Word
from mien.pipelines.rows import runs
from mien.pipelines.stage import NotNegative, Resources, Share, Stage, StageContext


@dataclass(kw_only=True)
class Align(Stage):
    """Segment to AlignedSegment: the longest spans in which all requirements hold, cut between words.

    Rows are removed step by step (no speech, no face, not speaking, no words, too short). The seconds that
    each step removes are counted once, however many faces there are. Faces need the track `speaking`.
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
    """Least share of the highest speaking score in the picture, where several faces are visible."""

    def setup(self, context: StageContext) -> None:
        self._clip = context.clip

    def __call__(self, segment: Segment) -> Iterator[AlignedSegment]:
        words = segment.transcript.words if segment.transcript else ()
        faces = tuple(face for face in segment.tracks or () if face.visible.any())
        limits = Limits(
            pause=_rows(self.max_pause_seconds),
            face_gap=_rows(self.max_face_gap_seconds),
            speaking_threshold=self.speaking_threshold,
            dominance=self.dominance,
        )
        layers = find_layers(segment, faces, require=self._clip.require, limits=limits)
        kept = np.zeros(layers.mask.shape[1], bool)
        clips: list[Clip] = []
        for place, layer in enumerate(layers.mask):
            for run in self._runs(layer, words, layers.first):
                kept[run[0] - layers.first : run[1] - layers.first] = True
                clips.append(
                    Clip(
                        segment=segment,
                        face=faces[layers.face_of[place]] if layers.face_of else None,
                        first_row=run[0],
                        row_count=run[1] - run[0],
                        words=_whole_words(words, run),
                    )
                )
        yield AlignedSegment(segment=segment, clips=tuple(clips), seconds_by_fate=layers.fates(segment, kept))

    def _runs(self, layer: Bool, words: Sequence[Word], first: int) -> Iterator[Run]:
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
    """The words inside the clip, with the half row of tolerance that a cut between words may need."""
    low, high = run[0] - 0.51, run[1] + 0.51
    return tuple(word for word in words if word.start * ROW_HZ > low and word.end * ROW_HZ < high)
