"""Small corpora in the pipeline's format, and a collator that shows which samples are in a batch.

This is a separate module so that workers can import it.
"""

from __future__ import annotations

import json
import os
import random
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from mien.ingest.errors import DamagedSampleError
from mien.models.reader.data import Allocate, RawSample
from mien.pipelines.data import Sample
from mien.pipelines.shards.index import IndexRow, encode_index
from mien.pipelines.shards.tar import TarWriter

NOISE_BYTES = 1500


def key_of(number: int) -> str:
    return f"file-v{number:05d}-000000000-00"


def sample(number: int) -> Sample:
    """Every member depends on the sample's number."""
    noise = random.Random(number).randbytes(NOISE_BYTES)
    return Sample(
        key=key_of(number),
        members={"json": json.dumps({"number": number}).encode(), "bin": noise},
        row={
            "language": ("en", "de", None)[number % 3],
            "face_size_pixels": float(number % 100) if number % 7 else None,
            "rows": number,
        },
    )


def write_shard(folder: Path, name: str, numbers: Iterable[int]) -> Path:
    """Writes a committed shard and returns its tar."""
    folder.mkdir(parents=True, exist_ok=True)
    tar = TarWriter(folder / f"{name}.tar")
    rows = [IndexRow(key=one.key, row=one.row, places=tar.append(one)) for one in map(sample, numbers)]
    sha256 = tar.close()
    sidecar = encode_index(rows, shard=f"{name}.tar", sha256=sha256, tar_bytes=tar.size)
    (folder / f"{name}.tar.parquet").write_bytes(sidecar)
    return tar.path


def write_corpus(folder: Path, sizes: Sequence[int], *, first: int = 0, name: str = "shard") -> Path:
    """Writes shards of these sizes, with samples numbered from `first`."""
    for number, size in enumerate(sizes):
        write_shard(folder, f"{name}-{number:03d}", range(first, first + size))
        first += size
    return folder


@dataclass(frozen=True)
class Numbers:
    """Batches of `number` (B,) int64, `noise` (B, NOISE_BYTES) uint8, `seed` (B,) and `key`.

    `kills`, `hangs`, `breaks`, `damages`: the number of the sample at which the process is killed, hangs,
    raises an unexpected error, or raises DamagedSampleError.
    """

    kills: int = -1
    hangs: int = -1
    breaks: int = -1
    damages: int = -1
    pause_seconds: float = 0.0
    noiseless: bool = False
    """Does not fill in the noise."""
    marker: str = ""
    """A file. `kills` and `hangs` create it, and `kills` only acts while it does not exist."""

    members: frozenset[str] = frozenset({"json", "bin"})

    def batch(self, samples: Sequence[RawSample], allocate: Allocate) -> dict[str, Any]:
        numbers = allocate("number", (len(samples),), np.dtype(np.int64))
        seeds = allocate("seed", (len(samples),), np.dtype(np.uint64))
        noise = allocate("noise", (len(samples), NOISE_BYTES), np.dtype(np.uint8))
        time.sleep(self.pause_seconds)
        for row, one in enumerate(samples):
            number = json.loads(bytes(one.members["json"]))["number"]
            self._misbehave(number, one.key)
            numbers[row], seeds[row] = number, one.seed
            if not self.noiseless:
                noise[row] = np.frombuffer(one.members["bin"], np.uint8)
        return {"key": [one.key for one in samples], "number": numbers, "seed": seeds, "noise": noise}

    def one(self, sample: RawSample) -> dict[str, Any]:
        made = self.batch([sample], lambda name, shape, dtype: np.empty(shape, dtype))
        return {name: values[0] for name, values in made.items()}

    def _misbehave(self, number: int, key: str) -> None:
        if number == self.kills and not (self.marker and Path(self.marker).exists()):
            if self.marker:
                Path(self.marker).touch()
            os.kill(os.getpid(), 9)
        if number == self.hangs:
            if self.marker:
                Path(self.marker).touch()
            time.sleep(600)
        if number == self.breaks:
            raise RuntimeError(f"bad number: {number}")
        if number == self.damages:
            raise DamagedSampleError(key, "damaged on purpose")


def numbers_of(batch: dict[str, Any], *, only_valid: bool = True) -> list[int]:
    return [
        int(number)
        for number, valid in zip(batch["number"], batch["valid"], strict=True)
        if valid or not only_valid
    ]


def check_content(batch: dict[str, Any]) -> None:
    """Checks that all values of a row are from the same sample."""
    for row, number in enumerate(batch["number"]):
        assert batch["key"][row] == key_of(int(number))
        assert bytes(np.asarray(batch["noise"][row])) == random.Random(int(number)).randbytes(NOISE_BYTES)
