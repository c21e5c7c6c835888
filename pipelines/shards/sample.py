"""A clip as the named members of a tar: what DESIGN calls the sample."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.media import MediaFile
from mien.pipelines.data import (
    CROP_PIXELS,
    ROW_HZ,
    ROW_SAMPLES,
    SCHEMA_VERSION,
    SOUND_HZ,
    FaceTrack,
    Float32,
    Int16,
    Sample,
    Segment,
    Word,
)
from mien.pipelines.faces.strip import assemble_strip
from mien.pipelines.shards.index import filter_row
from mien.pipelines.shards.quality import sound_quality

LANDMARK_COLUMNS = [
    f"{point}_{axis}_pixels"
    for point in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth")
    for axis in ("x", "y")
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Clip:
    """The longest span in which all that is required holds, for one face (or for the sound alone)."""

    segment: Segment
    track: FaceTrack | None
    first_row: int
    row_count: int
    words: tuple[Word, ...]
    speaking: Float32 | None
    """(T,)"""

    @property
    def start(self) -> float:
        return self.first_row / ROW_HZ

    @property
    def end(self) -> float:
        return (self.first_row + self.row_count) / ROW_HZ


def sample_key(clip: Clip) -> str:
    """`<source>-<video id>-<start ms, 9 digits>-<face track, 2 digits>`."""
    track = clip.track.index if clip.track else 0
    return f"{clip.segment.media.key}-{round(clip.start * 1000):09d}-{track:02d}"


def make_sample(clip: Clip, *, fingerprint: str) -> Sample:
    """The members in the order in which they are written, and the row of the index."""
    sound = _sound(clip)
    rows = _track_rows(clip)
    meta = _describe(clip, sound, fingerprint)
    members: dict[str, bytes] = {"json": json.dumps(meta, ensure_ascii=False).encode()}
    if clip.segment.transcript is not None:
        members["txt"] = " ".join(word.text for word in clip.words).encode()
    if sound is not None:
        members["flac"] = encode_flac(sound)
    times = np.arange(clip.first_row, clip.first_row + clip.row_count, dtype=np.float64) / ROW_HZ
    if clip.track is not None:
        track = clip.track
        members["faces.jpg"] = assemble_strip(track.crops[rows])
        members["landmarks.npy"] = encode_npy(track.landmarks[rows].reshape(clip.row_count, 10))
        if clip.speaking is not None:
            members["speaking.npy"] = encode_npy(clip.speaking.reshape(-1, 1).astype(np.float32))
        times = track.source_seconds[rows]
    members["times.npy"] = encode_npy(times)
    return Sample(key=sample_key(clip), members=members, row=filter_row(meta))


def encode_flac(sound: Int16) -> bytes:
    """16 kHz mono FLAC of `sound` (N,)."""
    import soundfile

    out = io.BytesIO()
    soundfile.write(out, sound, SOUND_HZ, format="FLAC", subtype="PCM_16")
    return out.getvalue()


def encode_npy(values: npt.NDArray[Any]) -> bytes:
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(values), allow_pickle=False)
    return out.getvalue()


def _sound(clip: Clip) -> Int16 | None:
    """(T * ROW_SAMPLES,) exactly; a last row that the file's end cuts short is filled with silence."""
    if clip.segment.sound is None:
        return None
    offset = clip.first_row * ROW_SAMPLES - round(clip.segment.start * SOUND_HZ)
    wanted = clip.row_count * ROW_SAMPLES
    sound = clip.segment.sound[offset : offset + wanted]
    return np.pad(sound, (0, wanted - sound.size))


def _track_rows(clip: Clip) -> slice:
    offset = clip.first_row - (clip.track.first_row if clip.track else clip.first_row)
    if clip.track and (offset < 0 or offset + clip.row_count > clip.track.visible.size):
        raise ValueError(f"clip leaves its track: got {offset = }, {clip.row_count = }")
    return slice(offset, offset + clip.row_count)


def _describe(clip: Clip, sound: Int16 | None, fingerprint: str) -> dict[str, Any]:
    segment, start = clip.segment, clip.start
    transcript = segment.transcript
    return {
        "schema_version": SCHEMA_VERSION,
        "key": sample_key(clip),
        "video": _video(segment.media),
        "start_seconds": start,
        "end_seconds": clip.end,
        "rows": clip.row_count,
        "rows_hz": ROW_HZ,
        "language": transcript.language if transcript else None,
        "language_probability": round(transcript.language_probability, 4) if transcript else None,
        "words": [
            {
                "text": word.text,
                "start": round(max(0.0, word.start - start), 3),
                "end": round(min(clip.end, word.end) - start, 3),
                "probability": round(word.probability, 4),
            }
            for word in clip.words
        ],
        "face": _face(clip),
        "quality": _quality(clip, sound),
        "tracks": {"landmarks": LANDMARK_COLUMNS, "speaking": ["score"]} if clip.track else {},
        "provenance": {
            "fingerprint": fingerprint,
            "models": [{"name": m.name, "sha256": m.sha256, "provider": m.provider} for m in segment.models],
        },
    }


def _video(media: MediaFile) -> dict[str, Any]:
    ref = media.job.video
    return {
        "source": ref.source,
        "id": ref.id,
        "url": ref.uri,
        "title": ref.title,
        "channel": ref.channel,
        "licence": ref.licence,
        "query": ref.query,
        "labels": ref.labels,
        "sha256": media.sha256,
        "width_pixels": media.video.width_pixels if media.video else None,
        "height_pixels": media.video.height_pixels if media.video else None,
    }


def _face(clip: Clip) -> dict[str, Any] | None:
    if clip.track is None:
        return None
    rows = _track_rows(clip)
    boxes = clip.track.boxes[rows]
    size = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    ticks = np.arange(clip.first_row, clip.first_row + clip.row_count) / ROW_HZ
    lag = clip.track.source_seconds[rows] - ticks
    return {
        "track": clip.track.index,
        "coverage": round(float(clip.track.visible[rows].mean()), 4),
        "size_pixels": round(float(np.nanmedian(size)), 1),
        "score": round(float(np.nanmean(clip.track.scores[rows])), 4),
        "blur": round(float(np.nanmedian(clip.track.blur[rows])), 2),
        "crop_pixels": CROP_PIXELS,
        "max_offset_seconds": round(float(np.nanmax(np.abs(lag))), 4),
    }


def _quality(clip: Clip, sound: Int16 | None) -> dict[str, Any]:
    speaking = None
    if clip.speaking is not None and np.isfinite(clip.speaking).any():
        speaking = round(float(np.nanmean(clip.speaking)), 4)
    ratio, snr = sound_quality(sound, clip.segment.speech, start=clip.start)
    return {
        "speech_ratio": ratio,
        "snr_db": snr,
        "speaking_score": speaking,
        # Not measured: no detector of this pipeline tells it (the design leaves its place open).
        "av_offset_seconds": None,
    }
