"""`image`: a plain picture, for shards that mien did not write."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.models.reader.data import Allocate, RawSample
from mien.models.reader.fields.field import Content, Field, content
from mien.models.reader.fields.window import Cut, Window
from mien.pipelines.data import UInt8


@dataclass(frozen=True, slots=True)
class ImageField(Field[Content]):
    """`image` (B, H, W, 3 or 1) uint8, RGB or luma, from a `jpg`, `png` or other member that OpenCV reads.

    With `size` each image is resized to size × size pixels by area means. Without it all images must have the
    same size.
    """

    member: str = "jpg"
    size: int | None = None
    grey: bool = False

    @property
    def name(self) -> str:
        return "image"

    def members(self, *, windowed: bool) -> frozenset[str]:
        del windowed
        return frozenset({self.member})

    def open(self, sample: RawSample, *, windowed: bool) -> Content:
        del windowed
        return content(sample, self.member)

    def collate(
        self, parts: Sequence[Content], cuts: Sequence[Cut] | None, window: Window | None, allocate: Allocate
    ) -> dict[str, Any]:
        del cuts, window
        pictures = [self._decode(part) for part in parts]
        shape = pictures[0].shape
        out = allocate("image", (len(parts), *shape), np.dtype(np.uint8))
        for number, (part, picture) in enumerate(zip(parts, pictures, strict=True)):
            if picture.shape != shape:
                raise part.damaged(
                    f"it has {picture.shape[1]} × {picture.shape[0]} pixels, others have "
                    f"{shape[1]} × {shape[0]}; use ImageField(size=…)"
                )
            out[number] = picture
        return {"image": out}

    def _decode(self, part: Content) -> UInt8:
        import cv2

        flags = cv2.IMREAD_GRAYSCALE if self.grey else cv2.IMREAD_COLOR_RGB
        try:
            picture = cv2.imdecode(np.frombuffer(part.data, np.uint8), flags)
        except cv2.error as error:
            raise part.damaged(error.err) from error
        if picture is None:
            raise part.damaged("OpenCV cannot read it")
        if self.size is not None:
            picture = cv2.resize(picture, (self.size, self.size), interpolation=cv2.INTER_AREA)
        return np.asarray(picture, np.uint8).reshape(*picture.shape[:2], -1)
