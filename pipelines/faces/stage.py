"""The stage `faces`: who is to be seen when, where, and how it looks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any, Literal

from mien.ingest.errors import ConfigError
from mien.ingest.media import MediaFile
from mien.pipelines.data import ROW_HZ, Segment
from mien.pipelines.faces.assemble import face_track
from mien.pipelines.faces.cuts import find_cuts
from mien.pipelines.faces.detect import DETECTORS, Detector
from mien.pipelines.faces.face_cropper import FaceCropper
from mien.pipelines.faces.identity import Identity, embed, group
from mien.pipelines.faces.reading import Frames
from mien.pipelines.faces.rows import merge_spans, rows_of, shown_frames
from mien.pipelines.faces.sessions import Device
from mien.pipelines.faces.tracks import FaceTracker, TrackerConfig, Tracklet
from mien.pipelines.ranges import AtLeastOne, NotNegative, Positive, Share
from mien.pipelines.stage import ClipSettings, Resources, Stage, StageContext

IDENTITY_WEIGHTS = "arcface_w600k_mbf"


@dataclass(kw_only=True)
class Faces(Stage):
    """Finds and follows the faces of a segment: yields it with `tracks` and `models` set.

    Raises MediaError where the film cannot be decoded; `setup` raises ProviderError and WeightsError.
    """

    name = "faces"
    resources = Resources()

    detector: Literal["scrfd_500m", "yunet_2023mar"] = "scrfd_500m"
    device: Device = "cpu"
    identity: bool = True
    """Join tracks of one person by ArcFace; its weights are for research only."""
    pad_seconds: NotNegative = 0.3
    """Where clips require speech, only speech and so many seconds around it are decoded and searched."""
    detect_every_seconds: Positive = 0.16
    score_threshold: Share = 0.6
    keep_threshold: Share = 0.3
    min_face_pixels: Positive = 40.0
    max_faces: AtLeastOne = 8
    max_lost_seconds: NotNegative = 0.6
    min_detections: AtLeastOne = 3
    max_offset_seconds: Positive = 0.05
    """A row without a frame so near in time is not visible."""
    same_person_cosine: Share = 0.4
    threads: AtLeastOne = 1

    def __post_init__(self) -> None:
        if self.detector not in DETECTORS:
            raise ConfigError(f"faces: no detector {self.detector!r}: choose one of {', '.join(DETECTORS)}")

    def weights(self) -> tuple[str, ...]:
        return (self.detector, IDENTITY_WEIGHTS) if self.identity else (self.detector,)

    def fingerprint_material(self, clip: ClipSettings) -> dict[str, Any]:
        # Fingerprints have always contained this constant. Without it, all videos would be processed again.
        return super().fingerprint_material(clip) | {"look_at": "speech"}

    def setup(self, context: StageContext) -> None:
        import av  # noqa: F401 (once per worker, not in the first call, as those below)
        import cv2
        import scipy.optimize  # noqa: F401
        import simplejpeg  # noqa: F401

        from mien.pipelines.weights import locate

        cv2.setNumThreads(self.threads)
        self._only_speech = "speech" in context.clip.require
        self._local_media = context.local_media
        self._film: Frames | None = None
        self._detector: Detector = DETECTORS[self.detector](
            self.detector,
            locate(self.detector),
            device=self.device,
            threads=self.threads,
            threshold=self.keep_threshold,
        )
        self._identity: Identity | None = None
        if self.identity:
            self._identity = Identity(
                IDENTITY_WEIGHTS, locate(IDENTITY_WEIGHTS), device=self.device, threads=self.threads
            )

    def close(self) -> None:
        if self._film is not None:
            self._film.close()

    def __call__(self, segment: Segment) -> Iterable[Segment]:
        detector, identity = self._detector, self._identity
        if segment.media.video is None:
            yield replace(segment, tracks=())
            return
        trails: list[Tracklet] = []
        whole = (segment.start, segment.end)
        wanted = segment.speech if self._only_speech else [whole]
        looker = FaceCropper(
            detector,
            min_face_pixels=self.min_face_pixels,
            rotation_degrees=segment.media.video.rotation_degrees,
        )
        if spans := merge_spans(wanted, self.pad_seconds, whole):
            with self._local_media.local_copy(segment.media) as path:
                media = replace(segment.media, path=path)
                for span in spans:
                    trails += self._follow(media, rows_of(span), looker)
        cosine = self.same_person_cosine
        embeddings = None if identity is None else embed(trails, identity.features, cosine)
        groups = group(trails, embeddings, cosine)
        tracks = tuple(
            face_track(
                number, [trails[at] for at in members], embeddings and [embeddings[at] for at in members]
            )
            for number, members in enumerate(groups)
        )
        uses = tuple(model.use for model in (detector, identity) if model is not None)
        yield replace(segment, tracks=tracks, models=segment.models + uses)

    def _follow(self, media: MediaFile, rows: range, looker: FaceCropper) -> list[Tracklet]:
        if not rows:
            return []
        settings = TrackerConfig(
            detect_every_seconds=self.detect_every_seconds,
            score_threshold=self.score_threshold,
            keep_threshold=self.keep_threshold,
            min_face_pixels=self.min_face_pixels,
            max_faces=self.max_faces,
            max_lost_seconds=self.max_lost_seconds,
            min_detections=self.min_detections,
        )
        # Twice, so that a frame that stands for a row at the span's edge is seen to have a neighbour beyond.
        slack = 2 * self.max_offset_seconds + 1e-3
        film, self._film = self._film, None  # after an error the film is opened anew
        if film is None or not film.is_of(media):
            if film is not None:
                film.close()
            film = Frames(media, threads=self.threads)
        frames = film.between(
            rows.start / ROW_HZ - slack,
            (rows.stop - 1) / ROW_HZ + slack,
            keep_from=rows.stop / ROW_HZ - slack,
        )
        shown = shown_frames(frames, rows, self.max_offset_seconds)
        trails = FaceTracker(settings, looker.find, looker.look).follow(find_cuts(shown))
        self._film = film
        return trails
