"""A clip as the named members of a tar, and its row of the index."""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.ingest.media import MediaFile
from mien.pipelines.annotators.annotator import Annotator, Scalar
from mien.pipelines.data import (
    CROP_PIXELS,
    ROW_HZ,
    ROW_SAMPLES,
    SCHEMA_VERSION,
    SOUND_HZ,
    Clip,
    Int16,
    Sample,
    Track,
)
from mien.pipelines.samples.film_strip import assemble_strip
from mien.pipelines.samples.quality import sound_quality
from mien.pipelines.shards.index import filter_row


def sample_key(clip: Clip) -> str:
    """`<source>-<video id>-<start ms, 9 digits>-<face track, 2 digits>`."""
    face = clip.face.index if clip.face else 0
    return f"{clip.segment.media.key}-{round(clip.start * 1000):09d}-{face:02d}"


def make_sample(clip: Clip, annotators: Sequence[Annotator], *, fingerprint: str) -> Sample:
    """The members, in the order in which they are written, and the row of the index."""
    sound = _sound(clip)
    tracks, scalars = _annotations(clip, annotators)
    meta = _describe(clip, sound, tracks, scalars, fingerprint)
    members: dict[str, bytes] = {"json": json.dumps(meta, ensure_ascii=False).encode()}
    if clip.segment.transcript is not None:
        members["txt"] = " ".join(word.text for word in clip.words).encode()
    if sound is not None:
        members["flac"] = encode_flac(sound)
    times = _ticks(clip)
    if clip.face is not None:
        rows = _face_rows(clip)
        members["faces.jpg"] = assemble_strip(clip.face.crops[rows])
        times = clip.face.source_seconds[rows]
    members |= {f"{track.name}.npy": encode_npy(track.values) for track in tracks}
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


def _annotations(clip: Clip, annotators: Sequence[Annotator]) -> tuple[list[Track], dict[str, Scalar]]:
    """The tracks of the clip, cut to it, and the scalars that annotators compute from them."""
    tracks: list[Track] = []
    scalars: dict[str, Scalar] = {}
    for annotator in annotators:
        whole = clip.segment.sound_tracks.get(annotator.name)
        if clip.face is not None:
            whole = clip.face.tracks.get(annotator.name, whole)
        track = None if whole is None else cut_track(whole, clip)
        found = annotator.summarise(track, clip)
        if found.keys() != annotator.scalars.keys():
            raise ValueError(
                f"annotator {annotator.name} declares {list(annotator.scalars)}, got {list(found)}"
            )
        scalars |= found
        if track is not None and track.columns:
            tracks.append(track)
    return tracks, scalars


def cut_track(track: Track, clip: Clip) -> Track:
    """`track` on the clip's clock: each row takes the nearest value that is at most half a step away."""
    ticks = _ticks(clip)
    values = np.full((clip.row_count, track.values.shape[1]), np.nan, np.float32)
    times = track.times_seconds
    if times.size:
        after = np.searchsorted(times, ticks).clip(0, times.size - 1)
        before = (after - 1).clip(0)
        nearest = np.where(ticks - times[before] < times[after] - ticks, before, after)
        step = max(1 / ROW_HZ, float(np.median(np.diff(times)))) if times.size > 1 else 1 / ROW_HZ
        near = np.abs(times[nearest] - ticks) <= step / 2 + 1e-6
        values[near] = track.values[nearest[near]]
    return Track(name=track.name, times_seconds=ticks, values=values, columns=track.columns)


def _ticks(clip: Clip) -> npt.NDArray[np.float64]:
    """(T,) seconds of the clip's rows."""
    return np.arange(clip.first_row, clip.first_row + clip.row_count, dtype=np.float64) / ROW_HZ


def _sound(clip: Clip) -> Int16 | None:
    """(T * ROW_SAMPLES,) exactly. A last row that the file's end cuts short is padded with silence."""
    if clip.segment.sound is None:
        return None
    offset = clip.first_row * ROW_SAMPLES - round(clip.segment.start * SOUND_HZ)
    size = clip.row_count * ROW_SAMPLES
    sound = clip.segment.sound[offset : offset + size]
    return np.pad(sound, (0, size - sound.size))


def _face_rows(clip: Clip) -> slice:
    assert clip.face is not None  # noqa: S101
    offset = clip.first_row - clip.face.first_row
    if offset < 0 or offset + clip.row_count > clip.face.visible.size:
        raise ValueError(f"clip leaves its face track: got {offset = }, {clip.row_count = }")
    return slice(offset, offset + clip.row_count)


def _describe(
    clip: Clip, sound: Int16 | None, tracks: list[Track], scalars: dict[str, Scalar], fingerprint: str
) -> dict[str, Any]:
    segment, start = clip.segment, clip.start
    transcript = segment.transcript
    ratio, snr = sound_quality(sound, segment.speech, start=start)
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
        "quality": {
            "speech_ratio": ratio,
            "snr_db": snr,
            **scalars,
            # Not measured: no detector of this pipeline reports it yet.
            "av_offset_seconds": None,
        },
        "tracks": {track.name: list(track.columns) for track in tracks},
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
    face = clip.face
    if face is None:
        return None
    rows = _face_rows(clip)
    boxes = face.boxes[rows]
    size = np.maximum(boxes[:, 2] - boxes[:, 0], boxes[:, 3] - boxes[:, 1])
    lag = face.source_seconds[rows] - _ticks(clip)
    return {
        "track": face.index,
        "coverage": round(float(face.visible[rows].mean()), 4),
        "size_pixels": round(float(np.nanmedian(size)), 1),
        "score": round(float(np.nanmean(face.scores[rows])), 4),
        "blur": round(float(np.nanmedian(face.blur[rows])), 2),
        "crop_pixels": CROP_PIXELS,
        "max_offset_seconds": round(float(np.nanmax(np.abs(lag))), 4),
    }
