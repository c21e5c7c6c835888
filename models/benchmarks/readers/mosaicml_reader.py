"""mosaicml-streaming, on the samples converted to its own format (MDS): one column of bytes per member."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mien.models.benchmarks.peer_decoding import decoder
from mien.models.benchmarks.readers.tarfile_reader import read_samples
from mien.models.benchmarks.readers.torch_loader import steps, with_workers


def open_epochs(folder: Path, task: str, workers: int, *, lean: bool) -> Any:
    from torch.utils.data import IterableDataset

    dataset = _dataset(_converted(folder))

    class Epochs(IterableDataset[Any]):
        def __iter__(self) -> Iterator[Any]:
            decode = decoder(task, lean=lean)
            return steps(map(decode, dataset), task, lean=lean)

    epochs = Epochs()
    return with_workers(epochs, workers) if workers else epochs


def _dataset(folder: Path) -> Any:
    from streaming import StreamingDataset

    return StreamingDataset(local=str(folder), shuffle=False, batch_size=1)


def _converted(folder: Path) -> Path:
    into = folder / "mds"
    if not (into / "index.json").is_file():
        from streaming import MDSWriter

        tars = sorted((folder / "shards").glob("*.tar"))
        columns = dict.fromkeys(next(read_samples(tars)), "bytes")
        with MDSWriter(out=str(into), columns=columns, size_limit=1 << 26) as writer:
            for sample in read_samples(tars):
                writer.write(sample)
    return into
