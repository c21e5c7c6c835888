"""Measures the start-up time with 10,000 shards, and with an index of 1,000,000 samples.

    python -m mien.models.benchmarks.scale FOLDER [--shards 10000] [--samples 1000000]

Each of the 10,000 shards is complete and has one short sample. The million samples have 1,000 real indexes;
their tars are sparse files of the right size and are never read. Each corpus is opened twice, in separate
processes: the first one merges the shards' indexes, the second one finds the merged index.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import subprocess
import sys
import time
import zlib
from pathlib import Path
from typing import Any

from mien.models.benchmarks.report import Table, mb
from mien.pipelines.data import Sample
from mien.pipelines.shards.index import IndexRow, encode_index
from mien.pipelines.shards.tar import Place

FIRST_BATCH_SECONDS = 0.5
OPEN_SECONDS = 1.0
BATCH = 32
_FRAMES = 4
_PER_SHARD = 1000
_NUMBERED = 10


def measure_scale(folder: Path, *, shards: int, samples: int) -> dict[str, Any]:
    many, big = folder / f"shards-{shards}", folder / f"index-{samples}"
    _make_once(many, lambda: _make_shards(many, shards))
    _make_once(big, lambda: _make_indexes(big, samples))
    found: dict[str, Any] = {}
    for name, corpus in (("shards", many), ("index", big)):
        cache = folder / f"cache-{name}-{time.time_ns()}"
        for when in ("first", "second"):
            command = [
                sys.executable,
                "-m",
                "mien.models.benchmarks.scale",
                "--open",
                str(corpus),
                str(cache),
            ]
            if name == "shards":
                command.append("--batch")
            done = subprocess.run(command, capture_output=True, text=True, check=True)
            found[f"{name} {when}"] = json.loads(done.stdout.splitlines()[-1])
    found["shards"], found["samples"] = shards, samples
    return found


def show_scale(found: dict[str, Any]) -> None:
    table = Table("start-up, in separate processes", "open s", "first batch s", "memory")
    for name, title in (
        ("shards first", f"{found['shards']:,} shards, first time"),
        ("shards second", f"{found['shards']:,} shards"),
        ("index first", f"{found['samples']:,} samples, first time"),
        ("index second", f"{found['samples']:,} samples"),
    ):
        values = found[name]
        batch = f"{values['batch_seconds']:.3f}" if "batch_seconds" in values else ""
        table.row(title, f"{values['open_seconds']:.3f}", batch, mb(values["memory_bytes"]))
    table.show()
    for what, seconds, limit in (
        ("first batch, index cached", found["shards second"]["batch_seconds"], FIRST_BATCH_SECONDS),
        ("index opened, cached", found["index second"]["open_seconds"], OPEN_SECONDS),
    ):
        print(f"  {'PASS' if seconds <= limit else 'MISSED'}  {seconds:.3f} s ≤ {limit} s  {what}")


def open_once(corpus: Path, cache: Path, *, batch: bool) -> dict[str, Any]:
    """Measures from the call of the constructor. torch is imported before, as in a training program."""
    import torch  # noqa: F401

    from mien.models.benchmarks.measure_one import memory_bytes
    from mien.models.reader.shard_reader import ShardReader

    began = time.perf_counter()
    reader = ShardReader(corpus, fields=["faces", "audio", "text"], cache_dir=cache)
    result: dict[str, Any] = {"open_seconds": time.perf_counter() - began, "samples": len(reader)}
    if batch:
        with reader.loader(global_batch=BATCH, rank=0, world=1) as loader:
            next(iter(loader))
            result["batch_seconds"] = time.perf_counter() - began
    result["memory_bytes"] = memory_bytes()
    return result


def _make_once(folder: Path, make: Any) -> None:
    marker = folder / ".whole"
    if not marker.exists():
        folder.mkdir(parents=True, exist_ok=True)
        make()
        marker.touch()


def _make_shards(folder: Path, count: int) -> None:
    """Writes the members of one sample under `count` keys."""
    from mien.models.benchmarks.samples import one_sample, write_shard

    template = one_sample(_FRAMES)
    for number in range(count):
        write_shard(folder / f"many-{number:06d}.tar", [_renamed(template, number)])


def _renamed(sample: Sample, number: int) -> Sample:
    return dataclasses.replace(sample, key=f"bench-{number:0{_NUMBERED}d}-000000000-00")


def _make_indexes(folder: Path, count: int) -> None:
    from mien.models.benchmarks.samples import one_sample

    template = one_sample(_FRAMES)
    places: dict[str, Place] = {}
    at = 512
    for member, data in template.members.items():
        places[member] = Place(offset=at, size=len(data), crc32=zlib.crc32(bytes(len(data))))
        at += -(-len(data) // 512) * 512 + 512
    for shard in range(-(-count // _PER_SHARD)):
        numbers = range(shard * _PER_SHARD, min(count, (shard + 1) * _PER_SHARD))
        rows = [
            IndexRow(
                key=_renamed(template, number).key,
                row=template.row | {"face_size_pixels": float(number % 200)},
                places={
                    member: dataclasses.replace(place, offset=place.offset + turn * at)
                    for member, place in places.items()
                },
            )
            for turn, number in enumerate(numbers)
        ]
        tar, size = folder / f"big-{shard:06d}.tar", at * len(rows) + 1024
        with tar.open("wb") as file:
            file.truncate(size)
        index = encode_index(rows, shard=tar.name, sha256=f"{shard:064x}", tar_bytes=size)
        tar.with_name(f"{tar.name}.parquet").write_bytes(index)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("cache", type=Path, nargs="?")
    parser.add_argument("--shards", type=int, default=10_000)
    parser.add_argument("--samples", type=int, default=1_000_000)
    parser.add_argument("--open", action="store_true", help="only open FOLDER once and print JSON")
    parser.add_argument("--batch", action="store_true", help="also load the first batch")
    arguments = parser.parse_args()
    if arguments.open:
        print(json.dumps(open_once(arguments.folder, arguments.cache, batch=arguments.batch)))
    else:
        show_scale(measure_scale(arguments.folder, shards=arguments.shards, samples=arguments.samples))


if __name__ == "__main__":
    main()
