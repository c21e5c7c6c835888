"""The candidate masks of a segment: for each face (or for the sound alone), the rows in which all
requirements hold, and the rows that each requirement removed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from mien.pipelines.data import KEPT, Bool, FaceTrack, Segment
from mien.pipelines.rows import bridge, on_segment, row_seconds, segment_rows, spans_to_rows

SPEAKING = "speaking"
"""The annotator whose score decides who speaks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """`pause` and `face_gap` are in rows."""

    pause: int
    face_gap: int
    speaking_threshold: float
    dominance: float


@dataclass(slots=True, kw_only=True)
class Layers:
    """Masks of candidate rows, restricted by one requirement after the other."""

    first: int
    """Grid row of column 0."""
    mask: Bool
    """(K, count)"""
    face_of: list[int]
    """(K,) index of each layer's face; empty where no face is required."""
    steps: list[tuple[str, Bool]] = field(default_factory=list)

    def narrow(self, mask: Bool, reason: str) -> None:
        """Removes the rows that are not in `mask` (count,) or (K, count)."""
        self.mask = self.mask & mask
        self.steps.append((reason, np.asarray(self.mask.any(axis=0), bool)))

    def fates(self, segment: Segment, kept: Bool) -> dict[str, float]:
        """Seconds by the first requirement that removed them, else KEPT. They add up to the segment's length.

        `kept` (count,) are the rows of the clips.
        """
        seconds = row_seconds(segment)
        left = np.ones(seconds.size, bool)
        fates: dict[str, float] = {}
        for reason, mask in (*self.steps, ("too_short", kept)):
            fates[reason] = fates.get(reason, 0.0) + float(seconds[left & ~mask].sum())
            left &= mask
        fates[KEPT] = float(seconds[left].sum())
        return {reason: amount for reason, amount in fates.items() if amount > 0}


def find_layers(
    segment: Segment, faces: Sequence[FaceTrack], *, require: Sequence[str], limits: Limits
) -> Layers:
    """The layers of `segment` for `faces`, each of which has a visible row."""
    first, count = segment_rows(segment)
    speech = bridge(spans_to_rows(segment.speech, first, count), limits.pause)
    layers = Layers(first=first, mask=np.ones((1, count), bool), face_of=[])
    if "speech" in require:
        layers.narrow(speech, "no_speech")
    if "face" in require:
        layers.face_of, seen = shot_rows(faces, first, count, bridge_rows=limits.face_gap)
        layers.narrow(seen, "no_video" if segment.media.video is None else "no_face")
    if "speech" in require and "face" in require:
        speaking = speaking_rows(faces, first, count, limits)
        bridged = [bridge(speaking[number], limits.pause) for number in layers.face_of]
        layers.narrow(np.array(bridged, bool).reshape(len(bridged), count), "not_speaking")
    if "speech" in require:
        words = segment.transcript.words if segment.transcript else ()
        spoken = spans_to_rows(((word.start, word.end) for word in words), first, count)
        layers.narrow(bridge(spoken, limits.pause), "no_words")
    return layers


def shot_rows(
    faces: Sequence[FaceTrack], first: int, count: int, *, bridge_rows: int
) -> tuple[list[int], Bool]:
    """The face of each layer (K,) and where it is visible (K, count), shot by shot, with short gaps filled.

    A person who is visible before and after a shot cut has one layer per shot, so that no clip spans the cut.
    """
    face_of: list[int] = []
    masks: list[Bool] = []
    for number, face in enumerate(faces):
        place = on_segment(face, first, count)
        for shot in np.unique(face.shots[face.visible]):
            mask = np.zeros(count, bool)
            mask[place] = face.visible & (face.shots == shot)
            face_of.append(number)
            masks.append(bridge(mask, bridge_rows))
    return face_of, np.stack(masks) if masks else np.zeros((0, count), bool)


def speaking_rows(faces: Sequence[FaceTrack], first: int, count: int, limits: Limits) -> Bool:
    """(len(faces), count) where each face speaks.

    A face speaks where its score is at least `speaking_threshold`, and at least `dominance` times the highest
    score in the picture, so that a listener beside a speaker is left out. Rows without a score are False.
    """
    scores = np.full((len(faces), count), -np.inf, np.float32)
    for number, face in enumerate(faces):
        score = face.tracks[SPEAKING].values[:, 0]
        scores[number, on_segment(face, first, count)] = np.nan_to_num(score, nan=-np.inf)
    highest = scores.max(axis=0, initial=-np.inf)
    mask: Bool = (scores >= limits.speaking_threshold) & (scores >= limits.dominance * highest)
    return mask
