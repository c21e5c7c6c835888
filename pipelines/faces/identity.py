"""Who is the same person: an embedding for each track, and tracks joined by it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mien.pipelines.data import Bool, Float32, ModelUse
from mien.pipelines.faces.geometry import ARCFACE
from mien.pipelines.faces.sessions import Device, open_session, prove, use_of
from mien.pipelines.faces.tracks import Tracklet

Features = Callable[[Sequence[bytes]], Float32]
"""Aligned crops to (N, D) of unit length."""
LOOKS = 4
"""Crops that the embedding of a doubtful trail is the mean of."""
DOUBT = 0.15
"""Cosines so near to the threshold are not believed of single looks."""
MIN_SCORE, MIN_BLUR = 0.6, 8.0
"""Means over a trail below which its embedding is not believed."""


class Identity:
    """ArcFace (Deng et al. 2019) by insightface's own class, on a session that we opened."""

    def __init__(self, name: str, path: Path, *, device: Device, threads: int) -> None:
        from insightface.model_zoo.arcface_onnx import ArcFaceONNX

        session = open_session(path, device, threads)
        self._model = ArcFaceONNX(str(path), session=session)
        self.use: ModelUse = use_of(name, path, prove(session, device))

    def features(self, jpegs: Sequence[bytes]) -> Float32:
        """(N, D) of unit length, of aligned crops."""
        import cv2

        pictures = [
            np.asarray(cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)) for jpeg in jpegs
        ]
        return unit(self._model.get_feat([np.ascontiguousarray(picture[ARCFACE]) for picture in pictures]))


def embed(trails: Sequence[Tracklet], features: Features, threshold: float) -> list[Float32 | None]:
    """(D,) of unit length for each trail, None for those that nothing could be joined with.

    One look each first, the sharpest and surest: that decides for most (in 18 real films no two people were
    more alike than 0.20; one person's looks were from 0.40 up). Trails of a pair in doubt get the mean of
    LOOKS looks, spread over the trail. Each look costs six times what detection in a picture does; this way
    50 were asked for instead of 184, and the same trails were joined.
    """
    may = joinable(trails)
    asked = np.flatnonzero(may.any(0)).tolist()
    found: list[Float32 | None] = [None] * len(trails)
    if not asked:
        return found
    first = features([_looks(trails[at], 1)[0] for at in asked])
    doubtful = may[np.ix_(asked, asked)] & (np.abs(first @ first.T - threshold) < DOUBT)
    for at, feature, doubt in zip(asked, first, doubtful.any(0), strict=True):
        found[at] = unit(features(_looks(trails[at], LOOKS)).mean(0)) if doubt else feature
    return found


def _looks(trail: Tracklet, count: int) -> list[bytes]:
    """The best of each of `count` equal parts of the trail."""
    parts = np.array_split(np.arange(len(trail.looks)), min(count, len(trail.looks)))
    return [trail.looks[max(part.tolist(), key=lambda at: _worth(trail, at))].jpeg for part in parts]


def _worth(trail: Tracklet, at: int) -> float:
    return float(trail.places[at][14] * np.log1p(trail.looks[at].blur))


def unit(vectors: Float32) -> Float32:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float32)


def group(
    trails: Sequence[Tracklet], embeddings: Sequence[Float32 | None] | None, threshold: float
) -> list[list[int]]:
    """Indices of the trails that are one person each, in order of first appearance.

    The most alike are joined first, as long as their cosine is at least `threshold` and they are never seen
    at once. A group's likeness to another is that of their mean embeddings, weighted by rows. Trails that
    were seen badly stay alone: embeddings of dark and blurred faces are all alike.
    """
    groups = [[index] for index in range(len(trails))]
    if embeddings is not None:
        may = joinable(trails)
        known = [at for at in range(len(trails)) if embeddings[at] is not None]
        alone = [[at] for at in range(len(trails)) if embeddings[at] is None]
        groups = [[at] for at in known]
        sums = [np.asarray(embeddings[at]) * np.float32(len(trails[at].seconds)) for at in known]
        while len(groups) > 1:
            means = unit(np.stack(sums))
            like = means @ means.T
            allowed = [[may[np.ix_(a, b)].all() for b in groups] for a in groups]
            like = np.where(allowed, like, -1.0)
            first, second = sorted(divmod(int(like.argmax()), len(groups)))
            if like[first, second] < threshold:
                break
            groups[first] += groups.pop(second)
            sums[first] = sums[first] + sums.pop(second)
        groups += alone
    for members in groups:
        members.sort(key=lambda index: trails[index].shown[0].start)
    return sorted(groups, key=lambda members: trails[members[0]].shown[0].start)


def joinable(trails: Sequence[Tracklet]) -> Bool:
    """(N, N) whether both are seen well, and never at once."""
    first = np.array([trail.shown[0].start for trail in trails])
    stop = np.array([trail.shown[-1].stop for trail in trails])
    clear = np.array([_seen_well(trail) for trail in trails], bool)
    apart = stop[:, None] <= first[None, :]
    return np.asarray((apart | apart.T) & clear[:, None] & clear[None, :])


def _seen_well(trail: Tracklet) -> bool:
    score = np.mean([place[14] for place in trail.places])
    return bool(score >= MIN_SCORE and np.mean([look.blur for look in trail.looks]) >= MIN_BLUR)
