"""Synthetic shards with all members that the pipeline writes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from mien.pipelines.data import Sample
from mien.pipelines.samples.sample import encode_flac, encode_npy
from mien.pipelines.shards.index import IndexRow, encode_index, filter_row
from mien.pipelines.shards.tar import TarWriter
from tests.models.reader.fields.sample_factory import strip

ROWS = (20, 50)
"""Minimum and maximum rows of a clip."""


def write_talking(folder: Path, count: int, *, per_shard: int = 16) -> Path:
    """Writes `count` samples and returns the folder."""
    folder.mkdir(parents=True)
    rng = np.random.default_rng(5)
    for shard, first in enumerate(range(0, count, per_shard)):
        tar = TarWriter(folder / f"talk-{shard:03d}.tar")
        samples = [talking(number, rng) for number in range(first, min(count, first + per_shard))]
        rows = [IndexRow(key=one.key, row=one.row, places=tar.append(one)) for one in samples]
        sha256 = tar.close()
        sidecar = encode_index(rows, shard=tar.path.name, sha256=sha256, tar_bytes=tar.size)
        tar.path.with_name(f"{tar.path.name}.parquet").write_bytes(sidecar)
    return folder


def talking(number: int, rng: np.random.Generator) -> Sample:
    """The sound is loud where the `speaking` track is high. One row has no face."""
    rows = int(rng.integers(*ROWS))
    score = np.sin(np.arange(rows) / 4 + number).astype(np.float32)
    loud = np.repeat(1500 * (score + 1.1), 640) * rng.normal(0, 1, rows * 640)
    times = number * 100 + np.arange(rows) / 25
    score[3] = times[3] = np.nan
    meta = meta_of(number, rows)
    members = {
        "json": json.dumps(meta).encode(),
        "txt": " ".join(word["text"] for word in meta["words"]).encode(),
        "flac": encode_flac(np.clip(loud, -32768, 32767).astype(np.int16)),
        "faces.jpg": strip(rows, number),
        "speaking.npy": encode_npy(score[:, None]),
        "times.npy": encode_npy(times),
    }
    return Sample(key=meta["key"], members=members, row=filter_row(meta))


def meta_of(number: int, rows: int) -> dict[str, Any]:
    words = [
        {"text": f"word{n}", "start": n * 0.3, "end": n * 0.3 + 0.2, "probability": 0.9}
        for n in range(int(rows / 25 / 0.3))
    ]
    return {
        "schema_version": 1,
        "key": f"file-talk{number:03d}-{number * 100_000:09d}-00",
        "video": {
            "source": "file" if number % 3 else "ravdess",
            "id": f"talk{number:03d}",
            "licence": "cc-by" if number % 2 else "",
            "labels": {} if number % 3 else {"emotion": ("calm", "angry")[number % 2]},
        },
        "start_seconds": number * 100.0,
        "end_seconds": number * 100 + rows / 25,
        "rows": rows,
        "rows_hz": 25,
        "language": "de" if number % 4 == 0 else "en",
        "language_probability": 0.9,
        "words": words,
        "face": {
            "track": 0,
            "coverage": 1.0,
            "size_pixels": 80.0 + number,
            "score": 0.8,
            "blur": 90.0,
            "max_offset_seconds": 0.01,
        },
        "quality": {
            "speech_ratio": 0.8,
            "snr_db": 10.0 + number,
            "speaking_score": 0.6,
            "av_offset_seconds": None,
        },
        "provenance": {"fingerprint": "f" * 32, "models": []},
    }
