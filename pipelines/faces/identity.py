"""Who is the same person: an embedding for each track, and tracks joined by it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from pipelines.data import Float32, ModelUse
from pipelines.faces.geometry import ARCFACE
from pipelines.faces.sessions import Device, open_session, prove, use_of
from pipelines.faces.tracks import Trail

LOOKS = 4
"""Crops that an embedding is the mean of."""
MIN_SCORE, MIN_BLUR = 0.6, 8.0
"""Means over a trail below which its embedding is not believed."""


class Identity:
    """ArcFace (Deng et al. 2019) by insightface's own class, on a session that we opened."""

    def __init__(self, name: str, path: Path, *, device: Device, threads: int) -> None:
        from insightface.model_zoo.arcface_onnx import ArcFaceONNX

        session = open_session(path, device, threads)
        self._model = ArcFaceONNX(str(path), session=session)
        self.use: ModelUse = use_of(name, path, prove(session, device))

    def embed(self, trail: Trail) -> Float32:
        """(D,) of unit length: the mean over the sharpest, surest looks, spread over the trail."""
        import cv2

        parts = np.array_split(np.arange(len(trail.looks)), min(LOOKS, len(trail.looks)))
        best = [max(part.tolist(), key=lambda at: self._worth(trail, at)) for part in parts]
        jpegs = [np.frombuffer(trail.looks[at].jpeg, np.uint8) for at in best]
        crops = [np.asarray(cv2.imdecode(jpeg, cv2.IMREAD_COLOR))[ARCFACE] for jpeg in jpegs]
        features = self._model.get_feat([np.ascontiguousarray(crop) for crop in crops])
        return unit(unit(features).mean(0))

    @staticmethod
    def _worth(trail: Trail, at: int) -> float:
        return float(trail.places[at][14] * np.log1p(trail.looks[at].blur))


def unit(vectors: Float32) -> Float32:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)


def group(trails: Sequence[Trail], embeddings: Sequence[Float32] | None, threshold: float) -> list[list[int]]:
    """Indices of the trails that are one person each, in order of first appearance.

    The most alike are joined first, as long as their cosine is at least `threshold` and they are never seen
    at once. A group's likeness to another is that of their mean embeddings, weighted by rows. Trails that
    were seen badly stay alone: embeddings of dark and blurred faces are all alike.
    """
    groups = [[index] for index in range(len(trails))]
    if embeddings is not None:
        clear = [_seen_well(trail) for trail in trails]
        sums = [np.asarray(e * len(t.seconds), np.float32) for e, t in zip(embeddings, trails, strict=True)]
        while len(groups) > 1:
            means = unit(np.stack(sums))
            like = means @ means.T
            allowed = [[_may_join(trails, clear, a, b) for b in groups] for a in groups]
            like = np.where(allowed, like, -1.0)
            first, second = sorted(divmod(int(like.argmax()), len(groups)))
            if like[first, second] < threshold:
                break
            groups[first] += groups.pop(second)
            sums[first] = sums[first] + sums.pop(second)
    for members in groups:
        members.sort(key=lambda index: trails[index].shown[0].start)
    return sorted(groups, key=lambda members: trails[members[0]].shown[0].start)


def _seen_well(trail: Trail) -> bool:
    score = np.mean([place[14] for place in trail.places])
    return bool(score >= MIN_SCORE and np.mean([look.blur for look in trail.looks]) >= MIN_BLUR)


def _may_join(trails: Sequence[Trail], clear: Sequence[bool], first: list[int], second: list[int]) -> bool:
    """Whether all are seen well, and no trail of one group overlaps in time with one of the other."""
    return all(clear[index] for index in first + second) and all(
        trails[a].shown[-1].stop <= trails[b].shown[0].start
        or trails[b].shown[-1].stop <= trails[a].shown[0].start
        for a in first
        for b in second
    )
