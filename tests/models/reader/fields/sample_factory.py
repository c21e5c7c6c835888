"""Small samples in the pipeline's format with known content."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from mien.models.reader.data import RawSample
from mien.pipelines.faces.crop import encode
from mien.pipelines.samples.film_strip import assemble_strip
from mien.pipelines.samples.sample import encode_flac, encode_npy


@lru_cache
def crop(seed: int) -> bytes:
    """A 128 x 128 picture with structure at all scales, encoded as by the faces stage."""
    rng = np.random.default_rng(seed)
    planes = []
    for side in (128, 64, 64):
        coarse = cv2.resize(
            rng.integers(0, 256, (7, 7), np.uint8), (side, side), interpolation=cv2.INTER_CUBIC
        )
        planes.append(np.clip(coarse + rng.normal(0, 6, coarse.shape), 0, 255).astype(np.uint8))
    return encode((planes[0], planes[1], planes[2]))


@lru_cache
def strip(rows: int, first: int = 0) -> bytes:
    return assemble_strip([crop((first + number) % 23) for number in range(rows)])


def sound(rows: int) -> npt.NDArray[np.int16]:
    """Noise, so that no two parts are equal."""
    return np.random.default_rng(3).normal(0, 3000, rows * 640).astype(np.int16)


def members(rows: int, *, bridged: tuple[int, ...] = ()) -> dict[str, bytes]:
    times = np.arange(rows) / 25 + 7
    landmarks = np.arange(rows * 10, dtype=np.float32).reshape(rows, 10)
    for row in bridged:
        times[row] = np.nan
        landmarks[row] = np.nan
    words = [
        {"text": f"w{n}", "start": n * 0.2, "end": n * 0.2 + 0.2, "probability": 0.5}
        for n in range(rows // 5)
    ]
    return {
        "json": json.dumps({"words": words, "rows": rows}).encode(),
        "txt": " ".join(word["text"] for word in words).encode(),  # type: ignore[misc]
        "flac": encode_flac(sound(rows)),
        "faces.jpg": strip(rows),
        "landmarks.npy": encode_npy(landmarks),
        "times.npy": encode_npy(times),
    }


def sample(rows: int, *, seed: int = 1, bridged: tuple[int, ...] = (), **instead: bytes | None) -> RawSample:
    """`instead` replaces members (`faces_jpg=…`); None removes them."""
    found: dict[str, Any] = members(rows, bridged=bridged)
    for name, data in instead.items():
        member = name.replace("_", ".")
        found.pop(member)
        if data is not None:
            found[member] = data
    views = {name: memoryview(data) for name, data in found.items()}
    return RawSample(key=f"made-{rows}-{seed}", corpus=0, members=views, row={"rows": rows}, seed=seed)


def allocate(name: str, shape: tuple[int, ...], dtype: np.dtype[Any]) -> npt.NDArray[Any]:
    """Memory with old content, so that a test sees bytes that are not written."""
    del name
    used = np.full(int(np.prod(shape)) * dtype.itemsize, 0xA5, np.uint8)
    return used.view(dtype).reshape(shape)
