"""Building FaceTracks from tracklets."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mien.pipelines.annotators.annotator import Annotator
from mien.pipelines.data import FaceTrack, Float32
from mien.pipelines.faces.embedder import normalize
from mien.pipelines.faces.tracker import Tracklet


def face_track(
    index: int,
    tracklets: Sequence[Tracklet],
    embeddings: Sequence[Float32 | None] | None,
    annotators: Sequence[Annotator] = (),
) -> FaceTrack:
    """The track of one person's tracklets (in order of time, without overlap), on the grid.

    Each tracklet is a shot of its own, even if two touch: there is a cut between them.
    """
    first = tracklets[0].rows[0].start
    count = tracklets[-1].rows[-1].stop - first
    faces = np.full((count, 15), np.nan, np.float32)
    seconds = np.full(count, np.nan)
    blur = np.full(count, np.nan, np.float32)
    measures: dict[str, Float32] = {}
    crops = [b""] * count
    shots = np.full(count, -1, np.int16)
    for shot, tracklet in enumerate(tracklets):
        luma, taken = np.stack([crop.luma for crop in tracklet.crops]), np.array(tracklet.seconds)
        measured = {annotator.name: annotator.measure(luma, taken) for annotator in annotators}
        for name, values in measured.items():
            measures.setdefault(name, np.full((count, values.shape[1]), np.nan, np.float32))
        for number, rows in enumerate(tracklet.rows):
            here = slice(rows.start - first, rows.stop - first)
            faces[here], seconds[here] = tracklet.faces[number], tracklet.seconds[number]
            blur[here] = tracklet.crops[number].blur
            for name, values in measured.items():
                measures[name][here] = values[number]
            crops[here] = [tracklet.crops[number].jpeg] * len(rows)
            shots[here] = shot
    visible = np.array([bool(crop) for crop in crops])
    embedding = None
    known = [one for one in embeddings or () if one is not None]
    if known:  # then all are known, or there is only one tracklet and nothing to join it with
        weights = [len(tracklet.seconds) for tracklet in tracklets]
        embedding = normalize(np.average(np.stack(known), axis=0, weights=weights).astype(np.float32))
    return FaceTrack(
        index=index,
        first_row=first,
        visible=visible,
        shots=shots,
        boxes=faces[:, :4],
        landmarks=faces[:, 4:14].reshape(count, 5, 2),
        scores=faces[:, 14],
        source_seconds=seconds,
        crops=tuple(crops),
        blur=blur,
        embedding=embedding,
        measures=measures,
    )
