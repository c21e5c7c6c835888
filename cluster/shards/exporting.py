"""Many samples as files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from mien.cluster.shards.unpack import export
from mien.ingest.errors import DamagedSampleError
from mien.models.reader.data import RawSample
from mien.models.reader.shard_reader import ShardReader


def export_samples(
    reader: ShardReader, folder: Path, *, kind: str, limit: int | None
) -> Iterator[tuple[str, list[Path] | DamagedSampleError]]:
    """For each sample its key, and the files written or why there are none; at most `limit` samples,
    counted with those. `kind`: see `unpack.FORMATS`. `reader` should not shuffle.

    Raises StorageError.
    """
    for sample in _each(reader, limit):
        if isinstance(sample, DamagedSampleError):
            yield sample.key, sample
            continue
        try:
            yield sample.key, export(sample, folder, kind=kind)
        except DamagedSampleError as error:
            yield sample.key, error


def _each(reader: ShardReader, limit: int | None) -> Iterator[RawSample | DamagedSampleError]:
    """What cannot be read comes as its error, and the next sample after it."""
    position, stop = 0, len(reader) if limit is None else min(limit, len(reader))
    while position < stop:
        try:
            for sample in reader.samples(start=position, stop=stop):
                position += 1
                yield sample
        except DamagedSampleError as error:
            position += 1
            yield error
