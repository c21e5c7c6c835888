"""Reads shards without mien: with webdataset, decoded by common libraries."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import soundfile
import webdataset


@dataclass(frozen=True, slots=True)
class ReadSample:
    key: str
    meta: dict[str, Any]
    frames: npt.NDArray[np.uint8] | None
    """(T, 128, 128, 3) BGR"""
    sound: npt.NDArray[np.int16] | None
    times: npt.NDArray[np.float64]
    members: frozenset[str]

    @property
    def video(self) -> str:
        return str(self.meta["video"]["title"])


def read_shards(folder: Path) -> Iterator[ReadSample]:
    """Yields every sample of every shard in the folder, in order."""
    tars = sorted(str(tar) for tar in folder.glob("*.tar"))
    if not tars:
        return
    for entry in webdataset.WebDataset(tars, shardshuffle=False, empty_check=False):
        frames = sound = None
        if "faces.jpg" in entry:
            strip = cv2.imdecode(np.frombuffer(entry["faces.jpg"], np.uint8), cv2.IMREAD_COLOR)
            assert strip is not None
            frames = np.asarray(strip, np.uint8).reshape(-1, 128, 128, 3)
        if "flac" in entry:
            sound, rate = soundfile.read(io.BytesIO(entry["flac"]), dtype="int16")
            assert rate == 16_000
        yield ReadSample(
            key=entry["__key__"],
            meta=json.loads(entry["json"]),
            frames=frames,
            sound=sound,
            times=np.load(io.BytesIO(entry["times.npy"])),
            members=frozenset(name for name in entry if not name.startswith("__")),
        )
