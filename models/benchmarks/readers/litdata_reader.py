"""litdata, on the samples converted to its own chunks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.models.benchmarks.columns import BATCH, SINGLE
from mien.models.benchmarks.peer_decoding import collator, decoder
from mien.models.benchmarks.readers.tarfile_reader import read_samples


def open_epochs(folder: Path, task: str, workers: int, *, lean: bool) -> Any:
    from litdata import StreamingDataLoader, StreamingDataset

    decode = decoder(task, lean=lean)

    class Decoded(StreamingDataset):  # type: ignore[misc]
        def __getitem__(self, index: Any) -> Any:
            return decode(super().__getitem__(index))

    dataset = Decoded(str(_converted(folder)), shuffle=False, drop_last=False)
    if task in SINGLE:  # its loader only adds cost to single samples
        return _SingleSamples(dataset)
    return StreamingDataLoader(
        dataset,
        batch_size=BATCH,
        collate_fn=collator(lean=lean),
        num_workers=workers,
        persistent_workers=workers > 0,
    )


class _SingleSamples:
    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __iter__(self) -> Iterator[Any]:
        return ([sample] for sample in self.dataset)


def _converted(folder: Path) -> Path:
    into = folder / "litdata"
    if not (into / "index.json").is_file():
        from litdata.streaming.cache import Cache

        into.mkdir(exist_ok=True)
        cache = Cache(str(into), chunk_bytes=1 << 26)
        number = -1
        for number, sample in enumerate(read_samples(sorted((folder / "shards").glob("*.tar")))):
            cache[number] = sample
        cache.done()
        cache.merge()
    return into
