"""Makes shards in the pipeline's format from a demo clip. They are stored in a folder and reused.

Pictures are real crops with added camera noise, so that a frame has a realistic size of 4 to 6 kB. Clips have
70 to 160 rows, 115 on average. The pipeline's own code writes the tars and their indexes.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from mien.pipelines.annotators.landmarks import Landmarks
from mien.pipelines.data import CROP_PIXELS, ROW_SAMPLES, SOUND_HZ, Sample
from mien.pipelines.faces.crop import encode
from mien.pipelines.samples.film_strip import assemble_strip
from mien.pipelines.samples.sample import encode_flac, encode_npy
from mien.pipelines.shards.index import IndexRow, encode_index, filter_row
from mien.pipelines.shards.tar import TarWriter
from mien.pipelines.weights import DEMO_CLIPS, pull

PER_SHARD = 64
MIN_ROWS, MAX_ROWS = 70, 160
_FACE = (slice(10, 160), slice(360, 510))
"""The position of the speaker's face in talks.mp4 (852 x 480)."""
_NOISE = 3.8
_POOL_CROPS = 1440
_MARKER = "samples.json"


def make_samples(folder: Path, count: int) -> dict[str, Any]:
    """Makes `count` samples in folder/shards, unless they already exist."""
    marker = folder / _MARKER
    if marker.is_file() and (facts := json.loads(marker.read_text()))["samples"] == count:
        return dict(facts)
    shutil.rmtree(folder, ignore_errors=True)
    shards = folder / "shards"
    shards.mkdir(parents=True)
    film = pull(DEMO_CLIPS.name) / "talks.mp4"
    rng = np.random.default_rng(1)
    crops, sound = _crops(film, rng), _sound(film)
    rows, sizes = 0, []
    for shard, first in enumerate(range(0, count, PER_SHARD)):
        numbers = range(first, min(count, first + PER_SHARD))
        samples = [_sample(number, crops, sound, rng) for number in numbers]
        rows += sum(sample.row["rows"] for sample in samples)  # type: ignore[misc]
        sizes += [sum(map(len, sample.members.values())) for sample in samples]
        write_shard(shards / f"bench-{shard:05d}.tar", samples)
    facts = {
        "samples": count,
        "rows_each": rows / count,
        "bytes_each": sum(sizes) / count,
        "shards": len(list(shards.glob("*.tar"))),
    }
    marker.write_text(json.dumps(facts))
    return facts


def one_sample(rows: int) -> Sample:
    """Makes one sample of `rows` frames in the same way."""
    film = pull(DEMO_CLIPS.name) / "talks.mp4"
    rng = np.random.default_rng(1)
    return _sample(0, _crops(film, rng, count=2 * rows), _sound(film), rng, rows=rows)


def write_shard(path: Path, samples: list[Sample]) -> None:
    """Writes a tar and its index in the format of WriteShards."""
    tar = TarWriter(path)
    rows = [IndexRow(key=sample.key, row=sample.row, places=tar.append(sample)) for sample in samples]
    sha256 = tar.close()
    index = encode_index(rows, shard=path.name, sha256=sha256, tar_bytes=tar.size)
    path.with_name(f"{path.name}.parquet").write_bytes(index)


def _sample(
    number: int, crops: list[bytes], sound: npt.NDArray[np.int16], rng: Any, *, rows: int | None = None
) -> Sample:
    rows = rows or int(rng.integers(MIN_ROWS, MAX_ROWS + 1))
    first = int(rng.integers(0, len(crops) - rows))
    begin = int(rng.integers(0, len(sound) - rows * ROW_SAMPLES))
    cut = sound[begin : begin + rows * ROW_SAMPLES] * rng.uniform(0.3, 1.0)
    cut = np.clip(cut + rng.normal(0, 40, cut.shape), -32768, 32767).astype(np.int16)
    meta = _meta(number, rows)
    landmarks = rng.normal(240, 20, (rows, 10)).astype(np.float32)
    members = {
        "json": json.dumps(meta).encode(),
        "txt": " ".join(word["text"] for word in meta["words"]).encode(),
        "flac": encode_flac(cut),
        "faces.jpg": assemble_strip(crops[first : first + rows]),
        "landmarks.npy": encode_npy(landmarks),
        "speaking.npy": encode_npy(rng.normal(0, 1, (rows, 1)).astype(np.float32)),
        "times.npy": encode_npy(np.arange(rows) / 25),
    }
    return Sample(key=meta["key"], members=members, row=filter_row(meta))


def _meta(number: int, rows: int) -> dict[str, Any]:
    seconds = rows / 25
    spoken = [
        {"text": f"word{n}", "start": n * 0.35, "end": n * 0.35 + 0.3, "probability": 0.9}
        for n in range(int(seconds / 0.35))
    ]
    return {
        "schema_version": 1,
        "key": f"bench-{number:011d}-{number * 1000:09d}-00",
        "video": {
            "source": "bench", "id": f"{number:011d}", "url": f"https://example.org/{number}",
            "title": "A talk", "channel": "bench", "licence": "cc-by", "query": "talk", "labels": {},
            "sha256": "0" * 64, "width_pixels": 852, "height_pixels": 480,
        },
        "start_seconds": float(number), "end_seconds": number + seconds, "rows": rows, "rows_hz": 25,
        "language": "en" if number % 4 else "de", "language_probability": 0.99, "words": spoken,
        "face": {
            "track": 0, "coverage": 1.0, "size_pixels": 100.0 + number % 90, "score": 0.8, "blur": 100.0,
            "crop_pixels": CROP_PIXELS, "max_offset_seconds": 0.01,
        },
        "quality": {"speech_ratio": 0.9, "snr_db": 20.0, "speaking_score": 1.0, "av_offset_seconds": None},
        "tracks": {"landmarks": list(Landmarks.columns), "speaking": ["score"]},
        "provenance": {"fingerprint": "f" * 64, "models": [
            {"name": name, "sha256": "a" * 64, "provider": "CPUExecutionProvider"}
            for name in ("scrfd_500m", "arcface_w600k_mbf", "whisper-base", "silero_vad_v6")
        ]},
    }  # fmt: skip


def _crops(film: Path, rng: Any, *, count: int = _POOL_CROPS) -> list[bytes]:
    import av
    import cv2

    with av.open(str(film)) as container:
        frames = [frame.to_ndarray(format="rgb24")[_FACE] for frame in container.decode(video=0)]
    crops = []
    for number in range(count):
        turn, at = divmod(number, len(frames))
        face = frames[at if turn % 2 == 0 else -1 - at]  # forwards, then backwards: no jump between frames
        side = CROP_PIXELS
        small = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA).astype(np.float32)
        small += rng.standard_normal(small.shape, np.float32) * _NOISE
        planes = cv2.cvtColor(np.clip(small, 0, 255).astype(np.uint8), cv2.COLOR_RGB2YUV_I420).reshape(-1)
        luma, chroma = planes[: side * side], planes[side * side :]
        crops.append(encode((luma.reshape(side, side), *chroma.reshape(2, side // 2, side // 2))))
    return crops


def _sound(film: Path) -> npt.NDArray[np.int16]:
    import av

    resampler = av.AudioResampler(format="s16", layout="mono", rate=SOUND_HZ)
    with av.open(str(film)) as container:
        pieces = [
            piece.to_ndarray()[0]
            for frame in container.decode(audio=0)
            for piece in resampler.resample(frame)
        ]
    return np.concatenate(pieces * 2)
