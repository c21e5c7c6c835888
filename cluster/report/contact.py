"""A contact sheet of a sample: its film strip, a second to a line, as a picture that any viewer shows."""

from __future__ import annotations

import numpy as np

from mien.pipelines.data import CROP_PIXELS, ROW_HZ, UInt8


def contact_sheet(strip: bytes, *, columns: int = ROW_HZ) -> bytes:
    """JPEG of the frames of `strip` (a sample's faces.jpg), `columns` to a line, read left to right.

    Raises ValueError where `strip` is not a picture.
    """
    import cv2

    tall = cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR)
    if tall is None:
        raise ValueError(f"a film strip that is no picture, got {len(strip)} bytes")
    frames = np.asarray(tall, np.uint8).reshape(-1, CROP_PIXELS, CROP_PIXELS, 3)
    return bytes(cv2.imencode(".jpg", sheet_of(frames, columns=columns), [cv2.IMWRITE_JPEG_QUALITY, 88])[1])


def sheet_of(frames: UInt8, *, columns: int = ROW_HZ) -> UInt8:
    """`frames` (T, side, side, 3) side by side, `columns` to a line, the last one filled up with white."""
    count, side = frames.shape[:2]
    columns = min(columns, count)
    lines = -(-count // columns)
    sheet = np.full((lines * columns, side, side, 3), 255, np.uint8)
    sheet[:count] = frames
    grid = sheet.reshape(lines, columns, side, side, 3).swapaxes(1, 2)
    return grid.reshape(lines * side, columns * side, 3)
