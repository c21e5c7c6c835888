"""Builds small media files and crops for tests of single stages."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import simplejpeg

from mien.ingest.media import Job, MediaFile, StreamInfo, VideoRef
from mien.pipelines.data import CROP_PIXELS


def media_file(*, seconds: float = 60.0, video: bool = True, audio: bool = True) -> MediaFile:
    def stream(index: int, kind: str) -> StreamInfo:
        return StreamInfo(
            index=index,
            kind=kind,
            codec="made",
            declared_seconds=seconds,
            packets=1,
            start_seconds=0.0,
            end_seconds=seconds,
            width_pixels=640,
            height_pixels=360,
        )

    return MediaFile(
        job=Job(video=VideoRef(source="file", id="made", uri="/made.mp4")),
        path="/made.mp4",
        bytes=1,
        sha256="0" * 64,
        container="mp4",
        zero_seconds=0.0,
        duration_seconds=seconds,
        declared_seconds=seconds,
        video=stream(0, "video") if video else None,
        audio=stream(1, "audio") if audio else None,
    )


@lru_cache
def blank_crop() -> bytes:
    """A 128x128 baseline JPEG as the faces stage encodes it."""
    grey = np.full((CROP_PIXELS, CROP_PIXELS, 3), 90, np.uint8)
    return bytes(simplejpeg.encode_jpeg(grey, quality=92, colorsubsampling="420"))
