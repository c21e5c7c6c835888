"""From trails to the FaceTrack that travels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.pipelines.annotators.speaking import mouth_motion
from mien.pipelines.data import FaceTrack, Float32
from mien.pipelines.faces.identity import unit
from mien.pipelines.faces.tracks import Tracklet


def face_track(
    index: int, trails: Sequence[Tracklet], embeddings: Sequence[Float32 | None] | None
) -> FaceTrack:
    """One track of one person's trails (in order of time, never overlapping), on the grid.

    Each trail is a shot of its own, also where two touch: there is a cut between them.
    """
    first = trails[0].shown[0].start
    count = trails[-1].shown[-1].stop - first
    places = np.full((count, 15), np.nan, np.float32)
    seconds = np.full(count, np.nan)
    motion, blur = np.full((2, count), np.nan, np.float32)
    crops = [b""] * count
    shots = np.full(count, -1, np.int16)
    for shot, trail in enumerate(trails):
        moved = mouth_motion(np.stack([look.luma for look in trail.looks]), np.array(trail.seconds))
        for number, rows in enumerate(trail.shown):
            here = slice(rows.start - first, rows.stop - first)
            places[here], seconds[here] = trail.places[number], trail.seconds[number]
            motion[here], blur[here] = moved[number], trail.looks[number].blur
            crops[here] = [trail.looks[number].jpeg] * len(rows)
            shots[here] = shot
    visible = np.array([bool(crop) for crop in crops])
    embedding = None
    known = [one for one in embeddings or () if one is not None]
    if known:  # all, or there is one trail alone and nothing that it could be joined with
        weights = [len(trail.seconds) for trail in trails]
        embedding = unit(np.average(np.stack(known), axis=0, weights=weights).astype(np.float32))
    return FaceTrack(
        index=index,
        first_row=first,
        visible=visible,
        shots=shots,
        boxes=places[:, :4],
        landmarks=places[:, 4:14].reshape(count, 5, 2),
        scores=places[:, 14],
        source_seconds=seconds,
        crops=tuple(crops),
        motion=motion,
        blur=blur,
        embedding=embedding,
    )
