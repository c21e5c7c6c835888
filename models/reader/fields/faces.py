"""`faces`: the frames of the film strip."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.ingest.errors import UsageError
from mien.models.reader.data import Allocate, RawSample
from mien.models.reader.fields.field import Content, Field, content
from mien.models.reader.fields.film_strip import (
    JpegHeader,
    NotJpegError,
    StripDamagedError,
    decode_frames,
    read_header,
    sizes_of,
)
from mien.models.reader.fields.npy import NotNpyError, read_npy
from mien.models.reader.fields.window import Cut, Window
from mien.pipelines.data import CROP_PIXELS, Bool

_TIMES = "times.npy"


@dataclass(frozen=True, slots=True)
class _Strip:
    content: Content
    header: JpegHeader
    frames: int
    visible: Bool | None
    """(T,) whether the row shows the face; None if the sample has no times."""


@dataclass(frozen=True, slots=True)
class FacesField(Field[_Strip]):
    """`faces` (B, T, size, size, 3 or 1) uint8, RGB or luma; `faces_length` (B,) int64, rows;
    `faces_mask` (B, T) bool, False in padding and in rows without a face (bridged rows: mid-grey, time NaN).

    `size` must be a multiple of one eighth of the stored width: libjpeg-turbo shrinks inside its inverse DCT,
    which costs less than decoding the full size. With `grey` the colour is not decoded.
    """

    size: int = CROP_PIXELS
    grey: bool = False
    member: str = "faces.jpg"

    @property
    def name(self) -> str:
        return "faces"

    def members(self, *, windowed: bool) -> frozenset[str]:
        del windowed
        return frozenset({self.member, _TIMES})

    def open(self, sample: RawSample, *, windowed: bool) -> _Strip:
        del windowed
        strip = content(sample, self.member)
        try:
            header = read_header(strip.data)
        except NotJpegError as error:
            raise strip.damaged(error) from error
        frames, rest = divmod(header.height_pixels, header.width_pixels)
        if rest or not frames:
            raise strip.damaged(
                f"{header.width_pixels} × {header.height_pixels} pixels are not a strip of square frames"
            )
        if self.size not in sizes_of(header):
            raise UsageError(
                f"faces of {header.width_pixels} pixels cannot be decoded to {self.size}; "
                f"use FacesField(size=…) with one of {', '.join(map(str, sizes_of(header)))}"
            )
        return _Strip(strip, header, frames, _visible(sample, frames))

    def rows(self, part: _Strip) -> int | None:
        return part.frames

    def collate(
        self, parts: Sequence[_Strip], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        places = cuts if cuts is not None else [Cut(0, part.frames) for part in parts]
        length = window.rows if window else max(place.rows for place in places)
        shape = (len(parts), length, self.size, self.size, 1 if self.grey else 3)
        frames = allocate("faces", shape, np.dtype(np.uint8))
        mask = allocate("faces_mask", shape[:2], np.dtype(np.bool_))
        lengths = allocate("faces_length", shape[:1], np.dtype(np.int64))
        for number, (part, cut) in enumerate(zip(parts, places, strict=True)):
            lengths[number] = cut.rows
            mask[number, : cut.rows] = (
                True if part.visible is None else part.visible[cut.first_row : cut.first_row + cut.rows]
            )
            mask[number, cut.rows :] = False
            frames[number, cut.rows :] = 0
            try:
                decode_frames(part.content.data, part.header, frames[number, : cut.rows], first=cut.first_row)
            except StripDamagedError as error:
                raise part.content.damaged(error) from error
        return {"faces": frames, "faces_mask": mask, "faces_length": lengths}


def _visible(sample: RawSample, frames: int) -> Bool | None:
    if _TIMES not in sample.members:
        return None
    times = content(sample, _TIMES)
    try:
        values = read_npy(times.data)
    except NotNpyError as error:
        raise times.damaged(error) from error
    if values.shape != (frames,) or values.dtype.kind != "f":
        raise times.damaged(f"it is {values.dtype} {values.shape} beside a strip of {frames} frames")
    return np.asarray(np.isfinite(values), np.bool_)
