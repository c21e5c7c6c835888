"""The decoded parts of one sample, of mien or of any WebDataset."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.cluster.inspection.subtitles import Cue, cues_of
from mien.ingest.errors import DamagedSampleError
from mien.models.reader.data import RawSample
from mien.pipelines.data import ROW_HZ, UInt8

STRIP = "faces.jpg"
SOUNDS = ("flac", "wav", "ogg", "mp3")
PICTURES = ("jpg", "jpeg", "png", "webp")


@dataclass(frozen=True, slots=True, kw_only=True)
class ClipView:
    key: str
    meta: Mapping[str, Any] | None
    """The content of its `json`, if it has one."""
    text: str
    frames: UInt8 | None
    """(T, side, side, 3) RGB, the film strip"""
    frames_hz: float
    sound: npt.NDArray[np.int16] | None
    """(N,) or (N, channels)"""
    sound_hz: int
    pictures: Mapping[str, UInt8]
    """(height, width, 3) RGB, by member name, without the film strip"""

    @property
    def seconds(self) -> float:
        sound_seconds = 0.0 if self.sound is None else len(self.sound) / self.sound_hz
        frames_seconds = 0.0 if self.frames is None else len(self.frames) / self.frames_hz
        return max(sound_seconds, frames_seconds)

    @property
    def cues(self) -> list[Cue]:
        return cues_of((self.meta or {}).get("words"), seconds=self.seconds, text=self.text)


def open_clip(sample: RawSample) -> ClipView:
    """Decodes the film strip, the sound and all pictures.

    Raises DamagedSampleError.
    """
    members = {name: bytes(data) for name, data in sample.members.items()}
    meta = _meta(sample.key, members["json"]) if "json" in members else None
    sound, sound_hz = None, 0
    for name in SOUNDS:
        if name in members:
            sound, sound_hz = _sound(sample.key, name, members[name])
            break
    hz = (meta or {}).get("rows_hz")
    return ClipView(
        key=sample.key,
        meta=meta,
        text=members.get("txt", b"").decode("utf-8", "replace"),
        frames=_strip(sample.key, members[STRIP]) if STRIP in members else None,
        frames_hz=float(hz) if isinstance(hz, int | float) and 0 < hz <= 1000 else float(ROW_HZ),
        sound=sound,
        sound_hz=sound_hz,
        pictures={
            name: _picture(sample.key, name, data)
            for name, data in members.items()
            if name != STRIP and name.rpartition(".")[2] in PICTURES
        },
    )


def _meta(key: str, data: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise _damaged(key, "json", error) from error
    return found if isinstance(found, Mapping) else {"json": found}


def _sound(key: str, name: str, data: bytes) -> tuple[npt.NDArray[np.int16], int]:
    import soundfile

    try:
        sound, hz = soundfile.read(io.BytesIO(data), dtype="int16")
    except soundfile.LibsndfileError as error:
        raise _damaged(key, name, error) from error
    return sound, int(hz)


def _strip(key: str, data: bytes) -> UInt8:
    from mien.models.reader.fields.film_strip import (
        NotJpegError,
        StripDamagedError,
        decode_frames,
        read_header,
    )

    try:
        header = read_header(data)
        side = header.width_pixels
        if not side or header.height_pixels % side:
            raise _damaged(key, STRIP, f"{side} × {header.height_pixels} pixels are not a strip of squares")
        frames = np.empty((header.height_pixels // side, side, side, 3), np.uint8)
        decode_frames(data, header, frames, first=0)
    except (NotJpegError, StripDamagedError) as error:
        raise _damaged(key, STRIP, error) from error
    return frames


def _picture(key: str, name: str, data: bytes) -> UInt8:
    import cv2

    found = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    if found is None:
        raise _damaged(key, name, "it is not an image")
    return np.asarray(found[:, :, ::-1], np.uint8)


def _damaged(key: str, name: str, why: object) -> DamagedSampleError:
    return DamagedSampleError(key, f"{name} is damaged ({why}); run `mien verify` to check its shard")
