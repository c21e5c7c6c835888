"""Frames of spans that touch, without decoding what they share twice."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from mien.ingest.media import MediaFile
from mien.pipelines.faces.rows import Timed

if TYPE_CHECKING:
    from mien.pipelines.decode.frames import FrameReader

_KEPT_BYTES = 256 << 20


class Frames:
    """The frames of one film.

    The frame nearest to a span's first row may lie before it, so spans that touch ask for a few frames twice,
    and a seek back would decode all from their key frame on. The last ones are kept instead.
    """

    def __init__(self, media: MediaFile, *, threads: int) -> None:
        from mien.pipelines.decode.frames import FrameReader

        self._media = media
        self._reader: FrameReader = FrameReader(media, threads=threads)
        self._kept: list[Timed] = []
        self._kept_from, self._read_to = math.inf, -math.inf

    def is_of(self, media: MediaFile) -> bool:
        """Whether `media` is the same file. What was opened can be read on even if the file was removed and
        fetched again since."""
        return (self._media.path, self._media.sha256) == (media.path, media.sha256)

    def between(self, start: float, end: float, *, keep_from: float) -> Iterator[Timed]:
        """Frames with start <= seconds < end; those from `keep_from` on are kept for the next call."""
        again = self._kept_from <= start <= self._read_to < end
        old, resume = (self._kept, self._read_to) if again else ([], start)
        self._kept, self._kept_from, self._read_to = [], keep_from, -math.inf
        held_bytes = 0
        for source in (old, self._reader.frames(resume, end)):
            for frame in source:
                if frame.seconds < start:
                    continue
                if frame.seconds >= keep_from:
                    held_bytes += sum(plane.buffer_size for plane in frame.picture.planes)
                    self._kept.append(frame)
                    if held_bytes > _KEPT_BYTES:
                        self._kept, self._kept_from = [], math.inf
                self._read_to = max(resume, math.nextafter(frame.seconds, math.inf))
                yield frame
        self._read_to = end

    def close(self) -> None:
        self._kept = []
        self._reader.close()
