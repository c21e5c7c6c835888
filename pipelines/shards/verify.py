"""Verifies a shard against its hash, its index and the shapes that its samples declare."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from typing import IO, Any

import numpy as np

from mien.ingest.errors import one_line
from mien.pipelines.data import CROP_PIXELS, ROW_SAMPLES, SOUND_HZ
from mien.pipelines.shards.index import scan_tar


def check_shard(tar: IO[bytes], index: bytes, *, sha256: str, deep: bool) -> tuple[list[str], list[str]]:
    """The keys of one shard and its faults, one line each. `deep` also decodes all members."""
    hashed = hashlib.sha256()
    while chunk := tar.read(1 << 20):
        hashed.update(chunk)
    digest = hashed.hexdigest()
    if digest != sha256:
        return [], [f"sha256 is {digest[:16]}…, expected {sha256[:16]}…"]
    tar.seek(0)
    try:
        rows = scan_tar(tar)
    except (tarfile.TarError, KeyError, ValueError) as error:
        return [], [f"cannot be read as a tar of samples: {error}"]
    faults = list(_compare_index(rows, index))
    if deep:
        for row in rows:
            members = {}
            for extension, place in row.places.items():
                tar.seek(place.offset)
                members[extension] = tar.read(place.size)
            faults += [f"{row.key}: {fault}" for fault in check_sample(members)]
    return [row.key for row in rows], faults


def _compare_index(rows: list[Any], index: bytes) -> Iterator[str]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        listed = {row["key"]: row for row in pq.read_table(io.BytesIO(index)).to_pylist()}
    except (pa.ArrowException, KeyError, OSError) as error:
        yield f"the index cannot be read: {one_line(str(error))}"
        return
    if len(listed) != len(rows):
        yield f"the index lists {len(listed)} samples, the tar contains {len(rows)}"
    for row in rows:
        entry = listed.get(row.key)
        if entry is None:
            yield f"{row.key}: not in the index"
            continue
        for extension, place in row.places.items():
            if (entry.get(f"offset.{extension}"), entry.get(f"size.{extension}")) != (
                place.offset,
                place.size,
            ):
                yield f"{row.key}.{extension}: the index has another offset or size"
            elif entry.get(f"crc32.{extension}", place.crc32) != place.crc32:  # old indexes have none
                yield f"{row.key}.{extension}: the index has another crc32"


def check_sample(members: dict[str, bytes]) -> Iterator[str]:
    """The faults of a sample's members, one line each."""
    import cv2
    import soundfile

    meta = json.loads(members["json"])
    rows = meta["rows"]
    if "flac" in members:
        sound, rate = soundfile.read(io.BytesIO(members["flac"]), dtype="int16")
        if rate != SOUND_HZ or sound.shape != (rows * ROW_SAMPLES,):
            yield f"flac: got {rate} Hz {sound.shape}, expected {SOUND_HZ} Hz ({rows * ROW_SAMPLES},)"
    if "faces.jpg" in members:
        strip = cv2.imdecode(np.frombuffer(members["faces.jpg"], np.uint8), cv2.IMREAD_COLOR)
        if strip is None or strip.shape != (rows * CROP_PIXELS, CROP_PIXELS, 3):
            yield f"faces.jpg: got {None if strip is None else strip.shape}, expected {rows} frames"
    for extension, data in members.items():
        if extension.endswith(".npy"):
            values = np.load(io.BytesIO(data), allow_pickle=False)
            if values.shape[0] != rows:
                yield f"{extension}: got {values.shape[0]} rows, expected {rows}"
    if any(not 0 <= word["start"] <= word["end"] <= rows / meta["rows_hz"] + 1e-6 for word in meta["words"]):
        yield "json: a word is outside the clip"
