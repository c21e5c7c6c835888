"""The stage `faces`: detects, tracks, crops and identifies the faces of a segment."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from mien.ingest.errors import ConfigError
from mien.ingest.media import MediaFile
from mien.pipelines.annotators.annotator import Annotator
from mien.pipelines.data import ROW_HZ, FaceTrack, Float32, Segment
from mien.pipelines.faces.crop import FaceCropper
from mien.pipelines.faces.detect import DETECTORS, Detector, FrameDetector
from mien.pipelines.faces.embedder import FaceEmbedder, embed_tracklets, group_by_person, normalize
from mien.pipelines.faces.grid_frames import BufferedFrameReader, merge_spans, rows_in, sample_rows
from mien.pipelines.faces.onnx_session import Device
from mien.pipelines.faces.shot_boundaries import mark_shot_starts
from mien.pipelines.faces.tracker import FaceTracker, TrackerConfig, Tracklet
from mien.pipelines.stage import (
    AtLeastOne,
    ClipSettings,
    NotNegative,
    Positive,
    Resources,
    Share,
    Stage,
    StageContext,
)

EMBEDDER_WEIGHTS = "arcface_w600k_mbf"


@dataclass(kw_only=True)
class Faces(Stage):
    """Finds and tracks the faces of a segment: yields it with `tracks` and `models` set.

    Raises MediaError if the video cannot be decoded. `setup` raises ProviderError and WeightsError.
    """

    name = "faces"
    resources = Resources()

    detector: Literal["scrfd_500m", "yunet_2023mar"] = "scrfd_500m"
    device: Device = "cpu"
    identity: bool = True
    """Join tracklets of one person with ArcFace, whose weights are for research only."""
    pad_seconds: NotNegative = 0.3
    """If clips require speech, only speech and so many seconds around it are decoded and searched."""
    detect_every_seconds: Positive = 0.16
    score_threshold: Share = 0.6
    keep_threshold: Share = 0.3
    min_face_pixels: Positive = 40.0
    max_faces: AtLeastOne = 8
    max_lost_seconds: NotNegative = 0.6
    min_detections: AtLeastOne = 3
    max_offset_seconds: Positive = 0.05
    """A face is not visible in a row without a frame this close in time."""
    same_person_cosine: Share = 0.4
    threads: AtLeastOne = 1

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise ConfigError(f"faces: no detector {self.detector!r}; choose one of {', '.join(DETECTORS)}")

    def weights(self) -> tuple[str, ...]:
        return (self.detector, EMBEDDER_WEIGHTS) if self.identity else (self.detector,)

    def fingerprint_material(self, clip: ClipSettings) -> dict[str, Any]:
        # Fingerprints have always contained this constant. Without it, all videos would be processed again.
        return super().fingerprint_material(clip) | {"look_at": "speech"}

    def setup(self, context: StageContext) -> None:
        # Imports that would otherwise happen during the first call.
        import av  # noqa: F401
        import cv2
        import scipy.optimize  # noqa: F401
        import simplejpeg  # noqa: F401

        from mien.pipelines.weights import locate

        cv2.setNumThreads(self.threads)
        self._only_speech = "speech" in context.clip.require
        self._local_media = context.local_media
        # A pause that does not end a clip must not hide the face either.
        self._pad_seconds = max(self.pad_seconds, context.max_pause_seconds / 2)
        self._annotators = [one for one in context.annotators if one.measures_crops]
        self._reader: BufferedFrameReader | None = None
        self._detector: Detector | None = DETECTORS[self.detector](
            self.detector,
            locate(self.detector),
            device=self.device,
            threads=self.threads,
            threshold=self.keep_threshold,
        )
        self._embedder: FaceEmbedder | None = None
        if self.identity:
            self._embedder = FaceEmbedder(
                EMBEDDER_WEIGHTS, locate(EMBEDDER_WEIGHTS), device=self.device, threads=self.threads
            )

    def close(self) -> None:
        reader: BufferedFrameReader | None = getattr(self, "_reader", None)
        if reader is not None:
            reader.close()
        self._reader = self._detector = self._embedder = None

    def __call__(self, segment: Segment) -> Iterable[Segment]:
        detector, embedder = self._detector, self._embedder
        assert detector is not None  # noqa: S101 (set by setup)
        if segment.media.video is None:
            yield replace(segment, tracks=())
            return
        whole = (segment.start, segment.end)
        rotation_degrees = segment.media.video.rotation_degrees
        frame_detector = FrameDetector(
            detector, min_face_pixels=self.min_face_pixels, rotation_degrees=rotation_degrees
        )
        cropper = FaceCropper(rotation_degrees=rotation_degrees)
        tracklets: list[Tracklet] = []
        if spans := merge_spans(segment.speech if self._only_speech else [whole], self._pad_seconds, whole):
            with self._local_media.local_copy(segment.media) as path:
                media = replace(segment.media, path=path)
                for span in spans:
                    tracker = FaceTracker(self._tracker_config(), frame_detector.find, cropper.crop)
                    tracklets += self._track(media, rows_in(span), tracker)
        cosine = self.same_person_cosine
        embeddings = None if embedder is None else embed_tracklets(tracklets, embedder.embed, cosine)
        groups = group_by_person(tracklets, embeddings, cosine)
        tracks = tuple(
            face_track(
                number,
                [tracklets[at] for at in members],
                embeddings and [embeddings[at] for at in members],
                self._annotators,
            )
            for number, members in enumerate(groups)
        )
        uses = tuple(model.use for model in (detector, embedder) if model is not None)
        yield replace(segment, tracks=tracks, models=segment.models + uses)

    def _tracker_config(self) -> TrackerConfig:
        return TrackerConfig(
            detect_every_seconds=self.detect_every_seconds,
            score_threshold=self.score_threshold,
            keep_threshold=self.keep_threshold,
            min_face_pixels=self.min_face_pixels,
            max_faces=self.max_faces,
            max_lost_seconds=self.max_lost_seconds,
            min_detections=self.min_detections,
        )

    def _track(self, media: MediaFile, rows: range, tracker: FaceTracker) -> list[Tracklet]:
        if not rows:
            return []
        # Twice the offset, so that a frame for a row at the edge of the span has a neighbour beyond the edge.
        slack = 2 * self.max_offset_seconds + 1e-3
        reader, self._reader = self._reader, None  # after an error the next call opens the video again
        if reader is None or not reader.is_of(media):
            if reader is not None:
                reader.close()
            reader = BufferedFrameReader(media, threads=self.threads)
        try:
            decoded = reader.frames(
                rows.start / ROW_HZ - slack,
                (rows.stop - 1) / ROW_HZ + slack,
                buffer_from=rows.stop / ROW_HZ - slack,
            )
            sampled = sample_rows(decoded, rows, self.max_offset_seconds)
            tracklets = tracker.track(mark_shot_starts(sampled))
        except BaseException:
            reader.close()
            raise
        self._reader = reader
        return tracklets


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
        luma = np.stack([crop.luma for crop in tracklet.crops])
        times = np.array(tracklet.seconds)
        measured = {annotator.name: annotator.measure(luma, times) for annotator in annotators}
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
