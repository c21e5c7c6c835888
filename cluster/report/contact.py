"""A contact sheet of a sample: its film strip, a second to a line, as a picture that any viewer shows."""

from __future__ import annotations

import numpy as np

from pipelines.data import CROP_PIXELS, ROW_HZ


def contact_sheet(strip: bytes, *, columns: int = ROW_HZ) -> bytes:
    """JPEG of the frames of `strip` (a sample's faces.jpg), `columns` to a line, read left to right.

    Raises ValueError where `strip` is not a picture.
    """
    import cv2

    tall = cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR)
    if tall is None:
        raise ValueError(f"a film strip that is no picture, got {len(strip)} bytes")
    frames = tall.reshape(-1, CROP_PIXELS, CROP_PIXELS, 3)
    columns = min(columns, len(frames))
    lines = -(-len(frames) // columns)
    sheet = np.full((lines * columns, CROP_PIXELS, CROP_PIXELS, 3), 255, np.uint8)
    sheet[: len(frames)] = frames
    grid = sheet.reshape(lines, columns, CROP_PIXELS, CROP_PIXELS, 3).swapaxes(1, 2)
    picture = grid.reshape(lines * CROP_PIXELS, columns * CROP_PIXELS, 3)
    return bytes(cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1])
