"""Decodes and collates samples as users of the other libraries do: with Pillow, soundfile, numpy and torch.

`lean` uses simplejpeg instead of Pillow, and writes each batch once instead of padding copies. An expert user
of another library can do the same. The peers' Python imports this file, so it uses no other code of mien.
"""

from __future__ import annotations

import io
import json
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np

from mien.models.benchmarks.columns import SMALL_PIXELS, WINDOW_ROWS

ROW_SAMPLES = 640
Members = dict[str, Any]
"""Member extension → bytes or memoryview."""


def decoder(task: str, *, lean: bool) -> Callable[[Members], Members]:
    strip = _lean_strip if lean else _usual_strip

    def owned(members: Members) -> Members:
        return {name: bytes(data) for name, data in members.items()}

    def light(members: Members) -> Members:
        return {
            "json": json.loads(bytes(members["json"])),
            "txt": str(members["txt"], "utf-8"),
            "flac": decode_sound(members["flac"]),
        }

    def everything(members: Members) -> Members:
        tracks = {name: np.load(io.BytesIO(members[name])) for name in members if name.endswith(".npy")}
        return {**light(members), "faces": strip(members["faces.jpg"]), **tracks}

    def window(members: Members) -> Members:
        frames = strip(members["faces.jpg"])
        first = zlib.crc32(members["txt"]) % (len(frames) - WINDOW_ROWS + 1)
        sound = decode_sound(members["flac"], first * ROW_SAMPLES, WINDOW_ROWS * ROW_SAMPLES)
        return {"faces": frames[first : first + WINDOW_ROWS], "flac": sound}

    def small(members: Members) -> Members:
        return {"faces": _lean_small(members["faces.jpg"]) if lean else _usual_small(members["faces.jpg"])}

    tasks = {"raw": touched, "owned": owned, "light": light, "all": everything}
    return {**tasks, "window": window, "small": small}[task]


def touched(members: Members) -> Members:
    """Reads one byte of each page: a reader that returns memory-mapped views has read nothing yet."""
    for data in members.values():
        bytes(memoryview(data)[::4096])
    return members


def collator(*, lean: bool) -> Callable[[list[Members]], Members]:
    """Collates arrays to padded tensors and lengths, and everything else to lists."""
    return _lean_collate if lean else _usual_collate


def _usual_collate(samples: list[Members]) -> Members:
    import torch
    from torch.nn.utils.rnn import pad_sequence

    batch: Members = {}
    for name, first in samples[0].items():
        if isinstance(first, np.ndarray):
            tensors = [torch.from_numpy(np.ascontiguousarray(sample[name])) for sample in samples]
            batch[name] = pad_sequence(tensors, batch_first=True)
            batch[f"{name}_length"] = torch.tensor([len(tensor) for tensor in tensors])
        else:
            batch[name] = [sample[name] for sample in samples]
    return batch


def _lean_collate(samples: list[Members]) -> Members:
    import torch

    batch: Members = {}
    for name, first in samples[0].items():
        if isinstance(first, np.ndarray):
            lengths = [len(sample[name]) for sample in samples]
            out = torch.empty((len(samples), max(lengths), *first.shape[1:]), dtype=_torch_type(first))
            view = out.numpy()
            for number, sample in enumerate(samples):
                view[number, : lengths[number]] = sample[name]
                view[number, lengths[number] :] = 0
            batch[name], batch[f"{name}_length"] = out, torch.tensor(lengths)
        else:
            batch[name] = [sample[name] for sample in samples]
    return batch


def _torch_type(array: Any) -> Any:
    import torch

    return torch.from_numpy(np.empty(0, array.dtype)).dtype


def _usual_strip(jpeg: bytes) -> Any:
    from PIL import Image

    with Image.open(io.BytesIO(jpeg)) as image:
        return np.asarray(image.convert("RGB")).reshape(-1, image.width, image.width, 3)


def _usual_small(jpeg: bytes) -> Any:
    """Pillow's draft mode lets libjpeg halve the size; a box filter does the rest."""
    from PIL import Image

    with Image.open(io.BytesIO(jpeg)) as image:
        rows = image.height // image.width
        image.draft("L", (SMALL_PIXELS, SMALL_PIXELS * rows))
        shrunk = image.resize((SMALL_PIXELS, SMALL_PIXELS * rows), Image.Resampling.BOX)
    return np.asarray(shrunk).reshape(rows, SMALL_PIXELS, SMALL_PIXELS)


def _lean_strip(jpeg: bytes) -> Any:
    import simplejpeg

    strip = simplejpeg.decode_jpeg(jpeg, "RGB")
    return strip.reshape(-1, strip.shape[1], strip.shape[1], 3)


def _lean_small(jpeg: bytes) -> Any:
    import simplejpeg

    strip = simplejpeg.decode_jpeg(jpeg, "GRAY", min_width=SMALL_PIXELS)
    return strip.reshape(-1, SMALL_PIXELS, SMALL_PIXELS)


def decode_sound(flac: bytes, first: int = 0, count: int = -1) -> Any:
    import soundfile

    return soundfile.read(io.BytesIO(flac), frames=count, start=first, dtype="float32")[0]
