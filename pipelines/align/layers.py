"""The layers of a segment: for each face (or for the sound alone), the rows in which all that is required
holds; and step by step, what each requirement took away."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mien.pipelines.align.rows import (
    bridge,
    row_seconds,
    segment_rows,
    shot_rows,
    spans_to_rows,
    speaking_rows,
)
from mien.pipelines.data import KEPT, Bool, FaceTrack, Float32, Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """In rows, but for the last two."""

    pause: int
    face_gap: int
    speaking_threshold: float
    dominance: float


@dataclass(slots=True, kw_only=True)
class Layers:
    """Narrowed by one requirement after the other; `kept` are the rows of the clips in the end."""

    first: int
    """Grid row of column 0."""
    mask: Bool
    """(K, count)"""
    whose: list[int]
    """(K,) place in `tracks` of the face that each layer is of; empty where no face is required."""
    scores: Float32 | None = None
    """(len(tracks), count) speaking scores."""
    steps: list[tuple[str, Bool]] = field(default_factory=list)

    def narrow(self, mask: Bool, reason: str) -> None:
        """Takes the rows away that are not in `mask` (count,) or (K, count)."""
        self.mask = self.mask & mask
        self.steps.append((reason, np.asarray(self.mask.any(axis=0), bool)))

    def fates(self, segment: Segment, kept: Bool) -> dict[str, float]:
        """Seconds by the first step that took them away; what none took is kept. They add up to the whole."""
        seconds = row_seconds(segment)
        left = np.ones(seconds.size, bool)
        fates: dict[str, float] = {}
        for reason, mask in (*self.steps, ("too_short", kept)):
            fates[reason] = fates.get(reason, 0.0) + float(seconds[left & ~mask].sum())
            left &= mask
        fates[KEPT] = float(seconds[left].sum())
        return {reason: amount for reason, amount in fates.items() if amount > 0}


def find_layers(
    segment: Segment, tracks: Sequence[FaceTrack], *, require: Sequence[str], limits: Limits
) -> Layers:
    """The layers of `segment` for the given `tracks` (those with a visible row)."""
    first, count = segment_rows(segment)
    speech = bridge(spans_to_rows(segment.speech, first, count), limits.pause)
    layers = Layers(first=first, mask=np.ones((1, count), bool), whose=[])
    if "speech" in require:
        layers.narrow(speech, "no_speech")
    if "face" in require:
        layers.whose, seen = shot_rows(tracks, first, count, bridge_rows=limits.face_gap)
        layers.narrow(seen, "no_video" if segment.media.video is None else "no_face")
        spoken, layers.scores = speaking_rows(
            tracks, speech, first, threshold=limits.speaking_threshold, dominance=limits.dominance
        )
        if "speech" in require:
            bridged = [bridge(spoken[number], limits.pause) for number in layers.whose]
            layers.narrow(np.array(bridged, bool).reshape(len(bridged), count), "not_speaking")
    if "speech" in require:
        words = segment.transcript.words if segment.transcript else ()
        said = spans_to_rows(((word.start, word.end) for word in words), first, count)
        layers.narrow(bridge(said, limits.pause), "no_words")
    return layers
