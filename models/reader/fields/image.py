"""`image`: a plain picture of a shard that others made."""

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
    """`image` (B, H, W, 3 or 1) uint8, RGB or luma, from the member `jpg`, `png` or whatever OpenCV reads.

    With `size` each becomes size × size pixels, the means of their areas; without, all are to be of one size.
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
                    f"it is {picture.shape[1]} × {picture.shape[0]} pixels beside others of "
                    f"{shape[1]} × {shape[0]}; ask for ImageField(size=…)"
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
