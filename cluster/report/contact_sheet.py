"""A contact sheet of a sample: the frames of its film strip, one second per line, as one image."""

from __future__ import annotations

import numpy as np

from mien.pipelines.data import CROP_PIXELS, ROW_HZ, UInt8


def contact_sheet(strip: bytes, *, columns: int = ROW_HZ) -> bytes:
    """JPEG of the frames of `strip` (a sample's faces.jpg), `columns` per line, read left to right.

    Raises ValueError if `strip` is not an image.
    """
    import cv2

    tall = cv2.imdecode(np.frombuffer(strip, np.uint8), cv2.IMREAD_COLOR)
    if tall is None:
        raise ValueError(f"the film strip is not an image; got {len(strip)} bytes")
    frames = np.asarray(tall, np.uint8).reshape(-1, CROP_PIXELS, CROP_PIXELS, 3)
    return bytes(
        cv2.imencode(".jpg", tile_frames(frames, columns=columns), [cv2.IMWRITE_JPEG_QUALITY, 88])[1]
    )


def tile_frames(frames: UInt8, *, columns: int = ROW_HZ) -> UInt8:
    """`frames` (T, side, side, 3) side by side, `columns` per line. The last line is filled with white."""
    count, side = frames.shape[:2]
    columns = min(columns, count)
    lines = -(-count // columns)
    sheet = np.full((lines * columns, side, side, 3), 255, np.uint8)
    sheet[:count] = frames
    grid = sheet.reshape(lines, columns, side, side, 3).swapaxes(1, 2)
    return grid.reshape(lines * side, columns * side, 3)
